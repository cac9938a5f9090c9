"""Test how the container image is built, and its predictions under Lambda's runtime interface emulator."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image
from starlette.testclient import TestClient

from infra.emulator.function_url import create_app
from infra.emulator.invoke import invoke_url
from infra.emulator.serve import background
from lambda_app.app import create_app as create_classifier_app
from lambda_app.classifier import Classifier
from lambda_app.preprocess import FORMATS
from lambda_app.settings import Settings
from tests.infra.image.container_image import IMAGE, VERSION, build, label, layers
from tests.infra.smoke.faulty_services import smoke
from tests.support import ROOT
from tests.support.commands import ENVIRONMENT, execute, run
from tests.support.sam import SAM
from tests.support.waiting import DEADLINE_S, wait_for_output

pytestmark = pytest.mark.docker

MAX_MB = 155  # unpacked; 150 measured
CAT = ROOT / "data/samples/cat.jpg"
CHANGED = "lambda_app/app.py"
WITHOUT_CACHE = ("--no-cache", "--target", "function")  # skips the stages of the server


def predicted_class(response: dict[str, Any]) -> Any:
    """Return the predicted class in a Lambda proxy response."""
    assert response.get("statusCode") == 200, response
    return json.loads(response["body"])["predicted_class"]


def test_image_does_not_run_as_root(image: str) -> None:
    """The image runs as user 10001, by number."""
    assert "10001:10001" == run("docker", "inspect", "--format", "{{.Config.User}}", image).strip()


def test_image_size_is_limited(image: str) -> None:
    """The unpacked image is at most `MAX_MB`."""
    assert int(run("docker", "image", "inspect", "--format", "{{.Size}}", image)) <= MAX_MB * 1_000_000


@pytest.fixture(scope="module")
def changed_context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository with a comment added to `CHANGED`."""
    context = tmp_path_factory.mktemp("context")
    for name in run("git", "ls-files", "-z", "--cached").strip("\0").split("\0"):
        if (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
    with (context / CHANGED).open("a") as code:
        code.write("# a comment\n")
    return context


@pytest.fixture(scope="module")
def rebuilt(image: str, changed_context: Path) -> Iterator[tuple[str, str]]:
    """Return an image of the unchanged code, and one of the changed code that was built without Docker's cache.

    The image of the other tests may come from Docker's cache. If Debian published a package since then, its layers
    differ only because of Debian; then the unchanged code is built again, too.
    """
    first, changed = f"{IMAGE}-first", f"{IMAGE}-changed"
    try:
        build(changed, *WITHOUT_CACHE, context=changed_context)
        if layers(image)[0] == layers(changed)[0]:
            yield image, changed
        else:
            build(first, *WITHOUT_CACHE)
            yield first, changed
    finally:
        execute("docker", "image", "rm", first, changed)


@pytest.mark.slow
def test_changed_code_changes_one_layer(rebuilt: tuple[str, str]) -> None:
    """Builds are reproducible: a change of the code adds one layer, so that a registry stores each layer only once.

    System, packages, bundle and model are the same in both images, although the second one was built without a cache.
    """
    same = [old == new for old, new in zip(*map(layers, rebuilt), strict=True)]
    assert [True, True, True, True, False] == same


@pytest.mark.slow
def test_code_layer_is_reproducible(rebuilt: tuple[str, str], tmp_path: Path) -> None:
    """Names, their order, times, modes and contents in the layer of the code differ only for the changed module."""
    old, new = (read_last_layer(image, tmp_path / f"{number}.tar") for number, image in enumerate(rebuilt))
    assert [name for name, *_ in old] == [name for name, *_ in new]
    changed = {before[0] for before, after in zip(old, new, strict=True) if before != after}
    name = Path("var/task") / CHANGED
    assert {str(name), str(name.parent / f"__pycache__/{name.stem}.cpython-313.pyc")} == changed


def read_last_layer(image: str, path: Path) -> list[tuple[Any, ...]]:
    """Return name, mode, owner, time and digest of the content of each entry in the last layer of an image."""
    run("docker", "save", "--output", path, image)
    with tarfile.open(path) as archive:
        [manifest] = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]  # it is a file
        with tarfile.open(fileobj=archive.extractfile(manifest["Layers"][-1])) as layer:
            return [
                (each.name, each.mode, each.uid, each.gid, each.mtime, hashlib.sha256(content.read()).hexdigest())
                if (content := layer.extractfile(each))
                else (each.name, each.mode, each.uid, each.gid, each.mtime)
                for each in layer
            ]


def test_image_allows_snapstart(image: str) -> None:
    """SnapStart requires a label on a base image that is not AWS's."""
    assert "Allow" == label(image, "com.amazonaws.lambda.feature.snapstart")


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx2.Client]:
    """Yield a client of the function URL."""
    with httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


@pytest.mark.rie
def test_commit_of_label_and_model_info_agree(image: str, client: httpx2.Client) -> None:
    """The label and /model/info name the commit of the build, which a deployment cannot change."""
    commit = label(image, "org.opencontainers.image.revision")
    assert commit
    assert commit == client.get("/model/info").json()["commit"]


def test_version_label_is_software_version(image: str) -> None:
    """The image's version label is `lambda_app.__version__`."""
    assert label(image, "org.opencontainers.image.version") == VERSION


def test_build_names_missing_debian_packages(image: str) -> None:
    """The build names every package that Debian does not have, and where to read what to do."""
    assert image  # the engine answers, and the base image is there
    packages = "SYSTEM_PACKAGES=base-files no-such-package another-missing-one"
    done = execute("docker", "build", "--target", "system", "--build-arg", packages, "--file", "Dockerfile.lambda", ".")
    assert done.returncode
    expected = "Debian has no package named no-such-package another-missing-one; correct SYSTEM_PACKAGES"
    assert expected in done.stdout + done.stderr


@pytest.mark.rie
def test_openapi_document_of_the_image_is_that_of_the_code(client: httpx2.Client) -> None:
    """The patched packages build the same document as the unpatched ones."""
    settings = Settings()
    app = create_classifier_app(Classifier.load(settings.model_path), settings)
    assert TestClient(app).get("/openapi.json").json() == client.get("/openapi.json").json()


@pytest.mark.rie
def test_container_passes_every_check(url: str, tmp_path: Path) -> None:
    """The image passes every check of the smoke test under Lambda's runtime interface emulator."""
    assert set() == smoke(url, tmp_path).failed


@pytest.mark.rie
@pytest.mark.parametrize("image_format", FORMATS)
def test_image_decodes_every_accepted_format(client: httpx2.Client, image_format: str) -> None:
    """The image has the library of every format; a file provides HEIC, which Pillow cannot write."""
    photo = BytesIO((ROOT / "tests/data/cat.heic").read_bytes())
    if image_format != "HEIC":
        Image.open(CAT).save(photo, image_format)
    answer = client.post("/predict", files={"file": ("cat", photo.getvalue())})
    assert (200, "cat") == (answer.status_code, answer.json().get("predicted_class"))


@pytest.mark.rie
def test_image_answers_every_get_route(client: httpx2.Client) -> None:
    """Every GET route that the API lists answers 200."""
    routes = [route.split() for route in client.get("/").json()["routes"]]
    paths = ["/openapi.json", *(path for method, path in routes if method == "GET" and "{" not in path)]
    assert len(paths) > 4
    assert dict.fromkeys(paths, 200) == {path: client.get(path).status_code for path in paths}


@pytest.fixture(scope="session")
def built_template(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template that `sam build` writes; most of its layers are cached."""
    assert image  # built, so that its layers are cached
    folder = tmp_path_factory.mktemp("sam")
    run(SAM, "build", "--build-dir", folder)
    return folder / "template.yaml"


@pytest.mark.sam
def test_sam_invoke_classifies(built_template: Path, event: Path) -> None:
    """`sam build` and `sam local invoke`, as `make invoke` calls them, classify the cat."""
    answer = run(SAM, "local", "invoke", "Classifier", "--template", built_template, "--event", event)
    assert "cat" == predicted_class(json.loads(answer))


@pytest.fixture
def sam_endpoint(built_template: Path, tmp_path: Path) -> Iterator[str]:
    """Yield the endpoint of `sam local start-lambda`, which is Lambda's Invoke API for the stack's functions."""
    command = [SAM, "local", "start-lambda", "--template", built_template, "--port", "0", "--skip-pull-image"]
    environment = os.environ | ENVIRONMENT
    output = tmp_path / "log"
    with output.open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield wait_for_output(process, output, r"Running on (\S+)")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


@pytest.mark.sam
def test_function_url_works_with_sam(sam_endpoint: str) -> None:
    """The emulated function URL works in front of `sam local start-lambda`."""
    with background(create_app(invoke_url(sam_endpoint, "Classifier"))) as url:
        options = {"headers": {"content-type": "image/jpeg"}, "trust_env": False, "timeout": DEADLINE_S}
        answer = httpx2.post(f"{url}/predict", content=CAT.read_bytes(), **options)
    assert (200, "cat") == (answer.status_code, answer.json()["predicted_class"])
