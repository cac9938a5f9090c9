"""Test in Chromium the review page, which shows the photos and saves decisions for `make accept`."""

import pytest

from tests.support.drawing import draw, encode_image
from training.harvest.contributed_photo import Candidate
from training.harvest.decisions import DECISIONS_FILE, HARVESTED, is_unchanged, read_decisions, write_decisions
from training.harvest.review_page import write_page

pytestmark = pytest.mark.browser


def make_candidate(folder, number, decision):
    """Return a candidate with an awkward version and reason, whose photo is in the folder."""
    sha256 = f"{number:064x}"
    path = f"contributed/v1 #{number}/cat/{sha256}.jpg"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(encode_image(draw("cat", number)))
    doubt = None if decision == "reject" else number / 10
    return Candidate(sha256, "cat", "dog", 0.75, doubt, decision, 'a "reason", with <signs>', path)


def save(page, folder):
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save {DECISIONS_FILE}").click()
    download.value.save_as(folder / DECISIONS_FILE)


def test_reviewer_saves_decisions(tmp_path, chromium):
    """All photos load, the changes of a reviewer are in the saved file, and nothing else differs."""
    candidates = [make_candidate(tmp_path, n, d) for n, d in enumerate(("accept", "hold", "reject"), 1)]
    page = chromium.new_page()
    page.goto(write_page(candidates, ["cat", "dog"], tmp_path).as_uri())
    for image in page.get_by_role("img").all():
        image.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    write_decisions(candidates, tmp_path, HARVESTED)
    save(page, tmp_path)
    assert not is_unchanged(tmp_path)  # agreeing with all proposals is a review, too
    held = page.locator("li").first
    held.get_by_label("label").select_option("dog")
    held.get_by_label("decision").select_option("accept")
    save(page, tmp_path)
    rows = {row.sha256[-1]: (row.label, row.decision, row.doubt, row.reason) for row in read_decisions(tmp_path)}
    reason = candidates[0].reason
    assert {
        "1": ("cat", "accept", 0.1, reason),
        "2": ("dog", "accept", 0.2, reason),
        "3": ("cat", "reject", None, reason),
    } == rows
    page.close()
