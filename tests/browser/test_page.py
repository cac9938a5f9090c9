"""Test the page in Chromium: real photos go to the real function."""

import csv
import io
import json
import zipfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import ExifTags, Image
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.browser.page_actions import CAT, NEITHER, big, choose, expect_verdict, upload
from tests.support import ROOT, tiny_model
from tests.support.drawing import encode_image
from tests.support.waiting import DEADLINE_S

pytestmark = [pytest.mark.browser, pytest.mark.rie]


def fact(page: Page, name: str) -> str:
    return page.locator(".facts div", has=page.get_by_text(name, exact=True)).locator("dd").inner_text()


def prediction_line(function, page: Page) -> dict:
    """Return the log line of the photo whose result the page shows."""
    [request_id] = page.evaluate("items.slice(-1).map((item) => item.answer.request_id)")
    expected = {"message": "request", "request_id": request_id}
    return json.loads(function.runtime.log_line(lambda line: line.items() >= expected.items()))


def test_photo_has_a_result(visit, function):
    """The page shows the class, all probabilities, the times, the bytes sent and the model."""
    page = visit()
    choose(page, CAT)
    expect_verdict(page, "Cat")
    line = prediction_line(function, page)
    shares = [f"{share * 100:.1f} %" for share in (line["confidence"], 1 - line["confidence"])]
    assert ["Cat", shares[0], "Dog", shares[1]] == page.locator(".bars span").all_inner_texts()
    assert ["ms", "ms"] == [fact(page, name).split()[1] for name in ("Server", "Network and cold start")]
    sizes = [f"{-(-size // 1000)} kB" for size in (line["photo_bytes"], CAT.stat().st_size)]
    assert (" of ".join(sizes), line["model_version"]) == (fact(page, "Sent"), fact(page, "Model"))
    expect(page.locator("#photo img")).to_have_attribute("alt", "Your photo, cat.jpg")
    expect(page.locator("#status")).to_have_text(f"cat.jpg: Cat, {line['confidence'] * 100:.1f} % sure.")


def test_unknown_photo_is_named(visit):
    """The page says that the photo shows none of the classes, and which class is closest."""
    page = visit()
    choose(page, NEITHER)
    expect_verdict(page, "Neither cat nor dog")
    expect(page.locator(".sure")).to_have_text("Closest class: dog.")
    expect(page.get_by_role("group", name="What is it really?").get_by_role("button")).to_have_text(["Cat", "Dog"])


def test_photo_that_the_browser_cannot_read_is_sent_unchanged(visit, function):
    """An iPhone's HEIC reaches the function, which decodes it."""
    page, data = visit(), (ROOT / "tests/data/cat.heic").read_bytes()
    choose(page, upload("cat.heic", data, "image/heic"))
    expect_verdict(page, "Cat")
    line = prediction_line(function, page)
    assert ("HEIC", len(data)) == (line["photo_format"], line["photo_bytes"])


def test_location_is_not_sent(visit):
    """A small photo is sent without its EXIF data, too."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 12.0, 0.0)
    page, sent = visit(), []
    page.route("**/predict*", lambda route: sent.append(route.request.post_data_buffer) or route.continue_())
    choose(page, upload("cat.jpg", encode_image(Image.open(CAT), exif=exif)))
    expect_verdict(page, "Cat")
    [photo] = [Image.open(io.BytesIO(body)) for body in sent]
    assert ((451, 300), {}) == (photo.size, dict(photo.getexif()))


TRANSFER = """async ([type, name, data]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, {type: "image/jpeg"}));
  const options = {bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer};
  document.body.dispatchEvent(type === "paste" ? new ClipboardEvent(type, options) : new DragEvent(type, options));
}"""


@pytest.mark.parametrize("way", ["drop", "paste", "camera"])
def test_photos_can_be_dropped_pasted_or_taken(visit, way):
    """A photo that is dropped, pasted or taken with the camera is classified."""
    page = visit()
    if way == "camera":
        page.locator("#camera").set_input_files(CAT)
    else:
        page.evaluate(TRANSFER, [way, "cat.jpg", b64encode(CAT.read_bytes()).decode()])
    expect_verdict(page, "Cat")


def test_big_photo_is_shrunk_before_upload(visit, function, tmp_path):
    """12 megapixels are sent as less than 300 kB, upright, with 512 pixels on the short side, and keep their class."""
    page = visit()
    photo = big(Image.open(CAT))
    (tmp_path / "big.jpg").write_bytes(photo)
    choose(page, tmp_path / "big.jpg")
    expect_verdict(page, "Cat")
    line = prediction_line(function, page)
    assert (683, 512) == (line["photo_width"], line["photo_height"])
    assert line["photo_bytes"] < 300_000 < len(photo)
    assert f"{-(-line['photo_bytes'] // 1000)} kB of {len(photo) / 1e6:.1f} MB" == fact(page, "Sent")


def test_folder_is_read_recursively(visit, tmp_path):
    """Photos in subfolders are sent and other files are not; a folder without photos gives a message."""
    for place in ("cat.jpg", "litter/cat.jpg", "litter/notes.txt", "empty/notes.txt"):
        (tmp_path / "pets" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / place).write_bytes(CAT.read_bytes() if place.endswith("jpg") else b"text")
    page = visit()
    drop(page, tmp_path / "pets/empty")
    expect(page.get_by_text("There is no photo in this folder.")).to_be_visible()
    drop(page, tmp_path / "pets")
    expect(page.locator("#summary")).to_have_text("2 cat.")
    expect(page.get_by_text("There is no photo in this folder.")).to_be_hidden()


def drop(page: Page, path: Path) -> None:
    """Drop files as the desktop does; a script cannot create a folder."""
    devtools = page.context.new_cdp_session(page)
    for event in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        devtools.send("Input.dispatchDragEvent", {"type": event, "x": 100, "y": 100, "data": data})


@pytest.mark.photos
def test_shrunk_photos_keep_their_class(visit, function, shared):
    """The shrunk photo has the class of the whole photo, and a confidence within 0.05 of it."""
    with zipfile.ZipFile(shared / "data/oxford-pets-trainval.zip") as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".jpg")]
        photos = [upload(f"{place}.jpg", archive.read(name)) for place, name in enumerate(names[:: len(names) // 12])]
    page = visit()
    shown = photos[::2] + [upload(photo["name"], enlarged(photo["buffer"])) for photo in photos[1::2]]
    choose(page, *shown)
    expect(page.locator("#status")).to_contain_text("Done.")
    seen = page.evaluate("items.map((item) => item.answer)")
    with httpx2.Client(base_url=function.url, trust_env=False, timeout=DEADLINE_S) as client:
        whole = [client.post("/predict", files={"file": photo["buffer"]}).json() for photo in shown]
    assert [each["predicted_class"] for each in whole] == [each["predicted_class"] for each in seen]
    assert [each["confidence"] for each in whole] == pytest.approx([each["confidence"] for each in seen], abs=0.05)


def enlarged(photo: bytes) -> bytes:
    """Return the photo at three times its size, so that the page shrinks it."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    return encode_image(image.resize((image.width * 3, image.height * 3)), quality=90)


def test_feedback_reaches_the_log(visit, function):
    """Feedback has the id of the prediction and can be changed; feedback that does not arrive is not shown as sent."""
    page = visit()
    choose(page, CAT)
    group = page.get_by_role("group", name="Was this right?")
    for button, label, space in (("No, dog", "dog", ""), ("Yes, cat", "cat", "\u00a0")):
        group.get_by_role("button", name=button).click()
        expect(group.get_by_role("button", name=button)).to_have_attribute("aria-pressed", "true")
        # The same words again would not be spoken.
        expect(page.locator("#status")).to_have_js_property("textContent", f"Thank you.{space}")
        feedback = {"message": "feedback", "label": label}
        feedback["feedback_for"] = prediction_line(function, page)["request_id"]
        assert function.runtime.log_line(lambda line, feedback=feedback: line.items() >= feedback.items())
    page.context.set_offline(True)
    group.get_by_role("button", name="No, dog").click()
    expect(page.locator("#status")).to_have_text("The feedback was not sent. Please try again.")
    expect(group.locator("[aria-pressed=true]")).to_have_text("Yes, cat")


def test_history_is_saved_as_csv(visit):
    """No file name becomes a formula or breaks a row."""
    page = visit()
    choose(page, upload('=1+1",\n.jpg', CAT.read_bytes()), upload("notes.txt", b"text", "text/plain"))
    expect(page.locator("#status")).to_contain_text("Done.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    text = download.value.path().read_text(encoding="utf-8-sig")
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert first["file"].startswith("'=1+1\"")
    assert ("cat", "false", "") == tuple(first[name] for name in ("predicted_class", "unknown", "error"))
    assert page.evaluate("String(items[0].sent)") == first["bytes_sent"]
    assert ("notes.txt", "unsupported_image", "") == (second["file"], second["error"], second["request_id"])


def test_error_of_a_photo_is_explained(visit, tmp_path):
    """The page explains the error in words, also to screen readers, and offers no retry."""
    phone = tmp_path / "phone.heic"
    phone.write_bytes(bytes(4_600_000))
    page = visit()
    for photo, message in (
        (upload("empty.jpg", b""), "No photo was sent, or the file is empty."),
        (upload("notes.jpg", b"text"), "This file is not a supported image."),
        (upload("cut.jpg", CAT.read_bytes()[:9000]), "This image is damaged"),
        (phone, "This photo is too large. The limits are 4.5 MB"),
    ):
        choose(page, photo)
        expect(page.locator(".sure")).to_contain_text(message)
        expect_verdict(page, "No answer")
        expect(page.locator("#status")).to_contain_text(message)
    expect(page.get_by_role("button", name="Try")).to_have_count(0)


def test_page_works_by_keyboard(visit):
    """A photo, feedback and the history can be used by keyboard, and the focus is visible."""
    page = visit()
    page.on("filechooser", lambda chooser: chooser.set_files([CAT, NEITHER]))
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    assert "solid" == page.locator("label[for=file].button").evaluate("(label) => getComputedStyle(label).outlineStyle")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Done.")
    page.locator("#verdict").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("Thank you.")
    page.get_by_role("button", name="Neither").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_be_focused()
    expect_verdict(page, "Neither cat nor dog")


@pytest.fixture(scope="module")
def other_classes(tmp_path_factory):
    """Yield the URL of a model with seven classes of unusual names, behind a proxy's path."""
    names = ("<b>bold</b>", "=1+1", "snow_leopard", "d", "e", "f", "</script>")
    path = tiny_model.write(
        tmp_path_factory.mktemp("model") / "seven.onnx", replace(tiny_model.METADATA, class_names=names)
    )
    model = onnx.load(path)
    weights = np.zeros((7, 3), np.float32)
    weights[2, 0], weights[0, 2] = 0.1, 0.1  # red photos are snow leopards
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    for output in model.graph.output[:2]:
        output.type.tensor_type.shape.dim[1].dim_value = 7
    onnx.save(model, path)
    app = create_app(Classifier.load(path), Settings())
    with background(Starlette(routes=[Mount("/pets", app)])) as url:
        yield f"{url}/pets/"


def test_any_classes_behind_any_path(visit, other_classes):
    """Class names are text, only the first of many are shown, and feedback chooses from a list."""
    page = visit(other_classes)
    expect(page.locator("h1")).to_have_text("Which of 7 classes is it?")
    photos = {color: encode_image(Image.new("RGB", (64, 48), color)) for color in ("red", "blue")}
    choose(page, *(upload(f"{color}.jpg", photo) for color, photo in photos.items()))
    expect_verdict(page, "Snow leopard")
    expect(page.locator(".bars li")).to_have_count(5)
    page.get_by_label("What it shows").select_option("=1+1")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#status")).to_have_text("Thank you.")
    page.get_by_role("button", name="<b>bold</b>").click()
    expect_verdict(page, "<b>bold</b>")
    page.goto(f"{other_classes}docs")
    expect(page.locator("#operations-Photos-predict")).to_be_visible()
