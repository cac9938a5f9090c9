"""The container image, built for real: what is in it, and that it classifies a photo as Lambda would run it."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from infra.emulator.function_url import create_app
from infra.emulator.invoke import invoke_url
from infra.emulator.serve import background
from lambda_app.preprocess import FORMATS

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[2]
IMAGE = "pet-classifier:test"
COMMIT = "0123abc"
LOCKED_DOWN = ("--rm", "--read-only", "--user", "10001", "--cap-drop", "ALL")
PYTHON = "/usr/bin/python3"
SAM = ROOT / ".venv-sam/bin/sam"
BUILD_SECONDS = 600  # 30 measured, with every layer to build
MAX_MB = 220  # unpacked; 177 measured
CAT = ROOT / "data/samples/cat.jpg"


def execute(*command: str | Path, seconds: float = BUILD_SECONDS) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SAM_CLI_TELEMETRY": "0", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds
    )


def run(*command: str | Path, seconds: float = BUILD_SECONDS) -> str:
    """The command's standard output; what it said on standard error is the failure's message."""
    done = execute(*command, seconds=seconds)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def engine_answers() -> bool:
    return shutil.which("docker") is not None and execute("docker", "info").returncode == 0


@pytest.fixture(scope="session")
def image() -> str:
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    if given := os.environ.get("TEST_IMAGE"):
        return given
    run("infra/emulator/base_image.sh", seconds=BUILD_SECONDS)
    run(
        "docker",
        "build",
        "--platform",
        "linux/amd64",
        "--build-arg",
        f"COMMIT={COMMIT}",
        "--file",
        "Dockerfile.lambda",
        "--tag",
        IMAGE,
        ".",
        seconds=BUILD_SECONDS,
    )
    return IMAGE


@pytest.fixture(scope="session")
def sam() -> Path:
    if not SAM.exists():
        pytest.skip("SAM CLI is not installed in .venv-sam")
    return SAM


@pytest.fixture(scope="session")
def event(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled cat as the event a function URL makes of POST /predict."""
    path = tmp_path_factory.mktemp("event") / "event.json"
    path.write_text(run(sys.executable, "-m", "infra.emulator.event", "data/samples/cat.jpg"))
    return path


@pytest.fixture(scope="module")
def emulated(image: str, sam: Path) -> Iterator[str]:
    """The Invoke API of AWS's runtime interface emulator, which runs the image locked down."""
    emulator = emulator_of(sam)
    container = run(
        *("docker", "run", "--detach", *LOCKED_DOWN, "--publish", "127.0.0.1::8080"),
        *("--volume", f"{emulator}:/aws-lambda-rie:ro", "--entrypoint", "/aws-lambda-rie"),
        *(image, PYTHON, "-m", "awslambdaric", "lambda_app.handler.handler"),
    ).strip()
    try:
        address = run("docker", "port", container, "8080").strip()
        yield f"http://{address}/2015-03-31/functions/function/invocations"
    finally:
        run("docker", "rm", "--force", container)


@pytest.fixture(scope="module")
def url(emulated: str, event: Path) -> Iterator[str]:
    """The function's URL, in front of the emulator."""
    post(emulated, event.read_bytes())  # returns once the emulator listens
    with background(create_app(emulated)) as url:
        yield url


def emulator_of(sam: Path) -> Path:
    """SAM CLI carries the emulator's binary."""
    machine = "x86_64" if platform.machine() == "x86_64" else "arm64"
    [emulator] = sam.parents[1].glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}")
    return emulator


def python_in(image: str, code: str) -> Any:
    """What the code prints as JSON in a container that may do nothing but compute."""
    code = f"import json\nfrom pathlib import Path\n{code}"
    options = (*LOCKED_DOWN, "--network", "none", "--entrypoint", PYTHON)
    return json.loads(run("docker", "run", *options, image, "-c", code))


def post(url: str, body: bytes, seconds: float = 120) -> Any:
    """The JSON answer; the port accepts connections some moments before the emulator does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return httpx2.post(url, content=body, timeout=seconds).raise_for_status().json()
        except httpx2.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def predicted_class(response: dict[str, Any]) -> Any:
    """Of a Lambda proxy response."""
    assert response.get("statusCode") == 200, response
    return json.loads(response["body"])["predicted_class"]


def pinned_names() -> list[str]:
    return sorted(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-serve.txt").read_text(), re.MULTILINE))


def test_not_root(image: str) -> None:
    """The image runs as user 10001, by number."""
    assert "10001:10001" == run("docker", "inspect", "--format", "{{.Config.User}}", image).strip()


def test_size(image: str) -> None:
    """What a node or a new Lambda host unpacks stays small."""
    assert int(run("docker", "image", "inspect", "--format", "{{.Size}}", image)) <= MAX_MB * 1_000_000


def test_snapstart_is_allowed(image: str) -> None:
    """On a base that is not AWS's own it wants a label."""
    labels = json.loads(run("docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image))
    assert "Allow" == labels["com.amazonaws.lambda.feature.snapstart"]


def test_the_commit_is_the_one_it_was_built_from(image: str, url: str) -> None:
    """Its label and /model/info say so: nobody who deploys the image can say another."""
    inspect = ("docker", "image", "inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.revision"}}')
    commit = run(*inspect, image).strip()
    assert commit
    assert commit == httpx2.get(f"{url}/model/info", timeout=120).json()["commit"]


def test_no_build_tools(image: str) -> None:
    """Neither pip nor a compiler ships, nor Debian's own tools."""
    code = """
import importlib.util, shutil
names = ("pip", "pip3", "gcc", "g++", "cc", "ld", "make", "apt", "apt-get", "dpkg", "perl", "bash")
tools = [name for name in names if shutil.which(name)]
print(json.dumps(tools + [m for m in ("pip", "ensurepip", "setuptools") if importlib.util.find_spec(m)]))
"""
    assert [] == python_in(image, code)


def test_scanners_see_what_debian_ships(image: str) -> None:
    """Every Debian package is on record with its version, and none that is not here."""
    code = """
records = [path.read_text() for path in Path("/var/lib/dpkg/status.d").iterdir()]
fields = [dict(line.split(": ", 1) for line in record.splitlines() if ": " in line) for record in records]
print(json.dumps([{field["Package"]: field["Version"] for field in fields}, Path("/var/lib/dpkg/status").exists()]))
"""
    packages, whole_system = python_in(image, code)
    assert {"libc6", "libssl3t64", "libstdc++6", "zlib1g"} < packages.keys()
    assert all(packages.values())
    assert not {"apt", "dpkg", "perl-base"} & packages.keys()
    assert not whole_system


def test_every_library_finds_those_it_links(image: str) -> None:
    """Nothing that a shared library needs was left out with what is not needed."""
    code = """
import ctypes
def missing(path):
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return "cannot open shared object file" in str(error) and str(error)
libraries = [path for room in ("/usr/lib", "/opt/python") for path in Path(room).rglob("*.so*")]
print(json.dumps([len(libraries) > 50, [problem for path in libraries if (problem := missing(path))]]))
"""
    assert [True, []] == python_in(image, code)


def test_exactly_the_pinned_packages(image: str) -> None:
    """The image holds the pinned serving requirements, all of them and no other."""
    code = "import importlib.metadata as m; print(json.dumps([d.metadata['Name'] for d in m.distributions()]))"
    names = sorted(name.lower().replace("_", "-").replace(".", "-") for name in python_in(image, code))
    assert pinned_names() == names


def test_no_secret(image: str) -> None:
    """Neither an environment variable nor a step of the build carries more than the Dockerfile says."""
    [config] = json.loads(run("docker", "image", "inspect", "--format", "[{{json .Config.Env}}]", image))
    names = {variable.split("=")[0] for variable in config}
    assert {"PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "GLIBC_TUNABLES", "COMMIT"} == names
    history = run("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert not re.search(r"token|secret|password|AKIA[A-Z0-9]{16}|//[^/\s]+:[^/\s]+@", history, re.IGNORECASE)
    code = """
rooms = (path for room in ("/var/task", "/root", "/home") for path in Path(room).rglob("*"))
print(json.dumps([str(p) for p in rooms if p.suffix in {".env", ".key", ".pem"} or p.name in {".git", ".aws"}]))
"""
    assert [] == python_in(image, code)


def test_no_training_library(image: str) -> None:
    """No library that only training needs can be imported."""
    code = """
import importlib.util
names = ("torch", "torchvision", "onnx", "mlflow", "dvc", "sklearn", "pandas", "matplotlib")
print(json.dumps([name for name in names if importlib.util.find_spec(name)]))
"""
    assert [] == python_in(image, code)


def test_only_what_serves_is_ours(image: str) -> None:
    """Of this repository ship lambda_app and the hook with its photos, without tests."""
    ours = "print(json.dumps(sorted(str(p.relative_to('/var/task')) for p in Path('/var/task').glob('*/*'))))"
    assert {
        "data/samples",
        "infra/__init__.py",
        "infra/__pycache__",
        "infra/emulator",
        "infra/smoke",
    } == {path for path in python_in(image, ours) if not path.startswith("lambda_app/")}
    assert [] == python_in(
        image, "print(json.dumps([str(p) for r in ('/opt/python', '/var/task') for p in Path(r).rglob('tests')]))"
    )


def test_bytecode_ships(image: str) -> None:
    """Every shipped module, the standard library's too, has its bytecode, valid whatever its time stamp becomes."""
    code = """
from importlib.util import MAGIC_NUMBER, cache_from_source
def compiled(path):
    cached = Path(cache_from_source(path))
    return cached.exists() and cached.read_bytes()[:8] == MAGIC_NUMBER + bytes([1, 0, 0, 0])  # PEP 552: unchecked hash
rooms = [*Path("/usr/lib").glob("python3*"), Path("/opt/python"), Path("/var/task")]
sources = [path for room in rooms for path in room.rglob("*.py")]
print(json.dumps([len(sources) > 1000, [str(path) for path in sources if not compiled(path)]]))
"""
    assert [True, []] == python_in(image, code)


def test_reports_nothing_home(image: str) -> None:
    """ONNX Runtime's own telemetry is off: it warns on a read-only disk when it is on."""
    done = execute("docker", "run", *LOCKED_DOWN, "--entrypoint", PYTHON, image, "-c", "import lambda_app.handler")
    assert (0, "") == (done.returncode, done.stderr)


def test_the_batch_starts(image: str) -> None:
    """Its imports are there, botocore's description of S3, certificates; a message that names no photo is done."""
    code = """
import os, ssl
os.environ |= {"RESULTS_BUCKET": "results", "RESULTS_PREFIX": "pets/", "AWS_DEFAULT_REGION": "eu-central-1"}
os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
from lambda_app.batch.handler import scorer
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(scorer().reader.http.connection_from_url("https://s3.amazonaws.com").ca_certs)
print(json.dumps([scorer().score('{"Event": "s3:TestEvent"}'), len(context.get_ca_certs()) > 100]))
"""
    assert [None, True] == python_in(image, code)


def test_classifies_under_the_emulator(emulated: str, event: Path) -> None:
    """Read-only and without capabilities, under Lambda's runtime interface emulator, the image knows a cat."""
    assert "cat" == predicted_class(post(emulated, event.read_bytes()))


@pytest.mark.parametrize("image_format", FORMATS)
def test_every_accepted_format_decodes(url: str, image_format: str) -> None:
    """The image has the library of each; Pillow cannot write HEIC."""
    photo = BytesIO((ROOT / "tests/data/cat.heic").read_bytes())
    if image_format != "HEIC":
        Image.open(CAT).save(photo, image_format)
    answer = httpx2.post(f"{url}/predict", files={"file": ("cat", photo.getvalue())}, timeout=120)
    assert (200, "cat") == (answer.status_code, answer.json().get("predicted_class"))


def test_every_get_route_answers(url: str) -> None:
    """What the API says it has, and its own description."""
    routes = [route.split() for route in httpx2.get(url, timeout=120).json()["routes"]]
    paths = ["/openapi.json", *(path for method, path in routes if method == "GET" and "{" not in path)]
    assert len(paths) > 4
    assert dict.fromkeys(paths, 200) == {path: httpx2.get(f"{url}{path}", timeout=120).status_code for path in paths}


def many_pixels() -> bytes:
    """30 million of them in 4 kB."""
    photo = BytesIO()
    Image.new("1", (6000, 5000)).save(photo, "PNG")
    return photo.getvalue()


FORM = {"content-type": "multipart/form-data; boundary=b"}
JPEG = {"content-type": "image/jpeg"}


@pytest.mark.parametrize(
    ("status", "code", "request_"),
    [
        (400, "no_file", ("POST", "/predict", JPEG, b"")),
        (400, "no_file", ("POST", "/predict", FORM, b"--b--\r\n")),
        (400, "bad_request", ("POST", "/predict", FORM, b"no form")),
        (404, "not_found", ("GET", "/nowhere", {}, b"")),
        (405, "method_not_allowed", ("DELETE", "/predict", {}, b"")),
        (413, "too_large", ("POST", "/predict", JPEG, many_pixels())),
        (415, "unsupported_image", ("POST", "/predict", JPEG, b"no photo")),
        (422, "damaged_image", ("POST", "/predict", JPEG, CAT.read_bytes()[:2000])),
    ],
)
def test_every_error_is_answered(url: str, status: int, code: str, request_: tuple[str, str, dict, bytes]) -> None:
    """None of them needs what the image lacks."""
    method, path, headers, body = request_
    answer = httpx2.request(method, f"{url}{path}", headers=headers, content=body, timeout=120)
    assert (status, code) == (answer.status_code, answer.json()["error"]["code"])


@pytest.fixture(scope="session")
def built_template(image: str, sam: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `sam build` makes of template.yaml; most of its layers are the image's."""
    assert image  # the engine answers, and the layers are there
    folder = tmp_path_factory.mktemp("sam")
    run(sam, "build", "--build-dir", folder, seconds=BUILD_SECONDS)
    return folder / "template.yaml"


def test_sam_invokes(sam: Path, built_template: Path, event: Path) -> None:
    """`sam build` and `sam local invoke`, as `make invoke` calls them, know a cat."""
    answer = run(sam, "local", "invoke", "Classifier", "--template", built_template, "--event", event)
    assert "cat" == predicted_class(json.loads(answer))


@pytest.fixture
def sam_endpoint(sam: Path, built_template: Path, tmp_path: Path) -> Iterator[str]:
    """`sam local start-lambda`, which offers Lambda's Invoke API for the stack's functions."""
    command = [sam, "local", "start-lambda", "--template", built_template, "--port", "0", "--skip-pull-image"]
    environment = os.environ | {"SAM_CLI_TELEMETRY": "0"}
    output = tmp_path / "log"
    with output.open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        while not (address := re.search(r"Running on (\S+)", output.read_text())):
            assert process.poll() is None, output.read_text()
            time.sleep(0.1)
        yield address[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def test_function_url_in_front_of_sam(sam_endpoint: str) -> None:
    """The function-URL emulator works against `sam local start-lambda` as it does against the RIE."""
    with background(create_app(invoke_url(sam_endpoint, "Classifier"))) as url:
        photo = (ROOT / "data/samples/cat.jpg").read_bytes()
        answer = httpx2.post(f"{url}/predict", content=photo, headers={"content-type": "image/jpeg"}, timeout=120)
    assert (200, "cat") == (answer.status_code, answer.json()["predicted_class"])
