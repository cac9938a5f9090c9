"""Test what the container image contains, and what a start inside it imports."""

import hashlib
import hmac
import json
import re
from pathlib import Path

import pytest

from tests.infra.image.container_image import IMAGE, LOCKED_DOWN, PYTHON, build, python_in
from tests.support.commands import execute, run
from tests.support.serving_requirements import PINNED

pytestmark = pytest.mark.docker
IN_LAMBDA = ("--env", "AWS_LAMBDA_RUNTIME_API=localhost")


def test_image_has_no_build_tools(image: str) -> None:
    """The image has no pip, no compiler, no package manager, no perl and no bash."""
    code = """
import importlib.util, shutil
names = ("pip", "pip3", "gcc", "g++", "cc", "ld", "make", "apt", "apt-get", "dpkg", "perl", "bash")
tools = [name for name in names if shutil.which(name)]
print(json.dumps(tools + [m for m in ("pip", "ensurepip", "setuptools") if importlib.util.find_spec(m)]))
"""
    assert [] == python_in(image, code)


def test_debian_packages_are_recorded_for_scanners(image: str) -> None:
    """status.d records every Debian package of which the image has files or linked code, and no other."""
    code = """
records = [path.read_text() for path in Path("/var/lib/dpkg/status.d").iterdir()]
fields = [dict(line.split(": ", 1) for line in record.splitlines() if ": " in line) for record in records]
print(json.dumps([{field["Package"]: field["Version"] for field in fields}, Path("/var/lib/dpkg/status").exists()]))
"""
    packages, whole_system = python_in(image, code)
    assert {"libc6", "liblapack64-dev", "libssl3t64", "libstdc++6", "zlib1g"} < packages.keys()
    assert all(packages.values())
    assert not {"apt", "dpkg", "perl-base"} & packages.keys()
    assert not whole_system


def test_shared_libraries_find_their_dependencies(image: str) -> None:
    """Every shared library in the image loads: no file that one of them needs was removed."""
    code = """
import ctypes
def missing(path):
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return any(text in str(error) for text in ("cannot open shared object file", "scipy_")) and str(error)
libraries = [path for folder in ("/usr/lib", "/opt/python") for path in Path(folder).rglob("*.so*")]
print(json.dumps([len(libraries) > 50, [problem for path in libraries if (problem := missing(path))]]))
"""
    assert [True, []] == python_in(image, code)


def test_image_has_exactly_the_pinned_packages(image: str) -> None:
    """The image has all pinned serving requirements and no other packages."""
    code = "import importlib.metadata as m; print(json.dumps([d.metadata['Name'] for d in m.distributions()]))"
    names = sorted(name.lower().replace("_", "-").replace(".", "-") for name in python_in(image, code))
    assert sorted(PINNED) == names


def test_image_has_no_secrets(image: str) -> None:
    """Environment, build history and files hold no credentials."""
    [config] = json.loads(run("docker", "image", "inspect", "--format", "[{{json .Config.Env}}]", image))
    names = {variable.split("=")[0] for variable in config}
    assert {"PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "GLIBC_TUNABLES", "COMMIT"} == names
    history = run("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert not re.search(r"token|secret|password|AKIA[A-Z0-9]{16}|//[^/\s]+:[^/\s]+@", history, re.IGNORECASE)
    code = """
paths = (path for folder in ("/var/task", "/root", "/home") for path in Path(folder).rglob("*"))
print(json.dumps([str(p) for p in paths if p.suffix in {".env", ".key", ".pem"} or p.name in {".git", ".aws"}]))
"""
    assert [] == python_in(image, code)


def test_image_has_only_serving_code(image: str) -> None:
    """From this repository, the image has lambda_app, the hook and its photos, and no tests."""
    code = "print(json.dumps(sorted(str(p.relative_to('/var/task')) for p in Path('/var/task').glob('*/*'))))"
    assert {
        "data/samples",
        "infra/__init__.py",
        "infra/__pycache__",
        "infra/emulator",
        "infra/smoke",
    } == {path for path in python_in(image, code) if not path.startswith("lambda_app/")}
    assert [] == python_in(
        image, "print(json.dumps([str(p) for r in ('/opt/python', '/var/task') for p in Path(r).rglob('tests')]))"
    )


def test_image_contains_hook(image: str) -> None:
    """With the serving requirements alone, the hook imports and finds its golden answers and photos."""
    code = """
from infra.smoke.hook import handler
from infra.smoke.golden import SAMPLES, Golden
print(json.dumps(sorted(name for name in Golden.read().photos if (SAMPLES / name).is_file())))
"""
    assert ["cat.jpg", "neither.jpg"] == python_in(image, code)


def test_every_module_has_bytecode(image: str) -> None:
    """Every module, the standard library included, has bytecode without time stamps, in the bundle or beside it."""
    code = """
from importlib.util import MAGIC_NUMBER, cache_from_source
from sitecustomize import BUNDLE, Bundle
bundled = {source for source, *_ in Bundle(BUNDLE).modules.values()}
def compiled(path):
    if str(path) in bundled:
        return True
    cached = Path(cache_from_source(path))
    return cached.exists() and cached.read_bytes()[:8] == MAGIC_NUMBER + bytes([1, 0, 0, 0])  # PEP 552: unchecked hash
folders = [*Path("/usr/lib").glob("python3*"), Path("/opt/python"), Path("/var/task")]
sources = [path for folder in folders for path in folder.rglob("*.py")]
print(json.dumps([len(sources) > 1000, [str(path) for path in sources if not compiled(path)]]))
"""
    assert [True, []] == python_in(image, code)


def test_start_imports_packages_from_the_bundle(image: str) -> None:
    """Every package that the start imports comes from the bundle; OpenTelemetry and the OpenAPI models cost no time."""
    code = """
import awslambdaric.bootstrap, lambda_app.handler, sys
from fastapi.openapi.models import OpenAPI
specs = {name: module.__spec__ for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
loaders = {name: type(spec.loader).__name__ for name, spec in specs.items()
           if str(spec.origin).startswith("/opt/python") and str(spec.origin).endswith(".py")}
others = [name for name, loader in loaders.items() if loader != "BundledLoader"]
print(json.dumps([len(loaders) > 200, others, "opentelemetry" in sys.modules, OpenAPI.__pydantic_complete__]))
"""
    assert [True, ["sitecustomize"], False, False] == python_in(image, code)


def test_start_in_lambda_does_not_load_openssl(image: str, event: Path) -> None:
    """The start and a prediction do without OpenSSL. Afterwards, hashes and TLS work."""
    code = """
import awslambdaric.bootstrap, lambda_app.handler, sys
response = lambda_app.handler.handler(json.loads(Path("/event.json").read_text()), None)
loaded = "libcrypto" in Path("/proc/self/maps").read_text()
import botocore.httpsession, hashlib, hmac, ssl
context = ssl.create_default_context(cafile=botocore.httpsession.get_cert_path(True))
names = sorted(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))
digests = [hashlib.new(name, b"text", usedforsecurity=False).hexdigest() for name in names]
codes = [hmac.new(b"key", b"text", hashlib.sha256).hexdigest(), hmac.digest(b"key", b"text", "sha256").hex()]
print(json.dumps([response["statusCode"], loaded, len(context.get_ca_certs()) > 100, digests, codes]))
"""
    names = sorted(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))
    digests = [hashlib.new(name, b"text").hexdigest() for name in names]
    codes = [hmac.new(b"key", b"text", "sha256").hexdigest()] * 2
    options = (*IN_LAMBDA, "--volume", f"{event}:/event.json:ro")
    assert [200, False, True, digests, codes] == python_in(image, code, *options)


def test_asyncio_has_tls_outside_of_lambda(image: str) -> None:
    """Outside of Lambda, as in the server image, asyncio can serve TLS."""
    assert python_in(image, "import asyncio.sslproto; print(json.dumps(asyncio.sslproto.ssl is not None))")


def test_image_has_no_openblas(image: str) -> None:
    """NumPy has one library of its own: the small BLAS and LAPACK, with the name of OpenBLAS."""
    code = "print(json.dumps([each.stat().st_size for each in Path('/opt/python/numpy.libs').iterdir()]))"
    [size] = python_in(image, code)
    assert size < 3_000_000


# 150 rows: from 25 on, LAPACK divides and conquers, and from 64 on it works in blocks.
@pytest.mark.parametrize(("dtype", "tolerance"), [("f4", 1e-4), ("f8", 1e-12), ("c8", 1e-4), ("c16", 1e-12)])
def test_linear_algebra_without_openblas(image: str, dtype: str, tolerance: float) -> None:
    """NumPy's products are those of its own loops, and its decompositions solve their equations, for every type."""
    code = f"""
import numpy as np
from numpy import linalg
dtype = np.dtype("{dtype}")
parts = np.sin(np.arange(45000.0) ** 2).reshape(2, 150, 150)
identity = np.eye(150, dtype=dtype)
a = (parts[0] + (1j * parts[1] if dtype.kind == "c" else 0)).astype(dtype) + 20 * identity
b, vector, hermitian, small = a[:, ::2], a[3], a @ a.conj().T, a[:20, :20]
def loops(subscripts, *arrays):
    return np.einsum(subscripts, *arrays, optimize=False)
def difference(actual, expected):
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))
values, vectors = linalg.eig(a)
real_values, real_vectors = linalg.eigh(hermitian)
u, s, v = linalg.svd(b, full_matrices=False)
q, r = linalg.qr(b)
factor = linalg.cholesky(hermitian)
differences = dict(
    gemm=difference(a @ b, loops("ij,jk", a, b)), gemm_transposed=difference(a.T @ b, loops("ji,jk", a, b)),
    syrk=difference(a @ a.T, loops("ij,kj", a, a)), gemv=difference(a @ vector, loops("ij,j", a, vector)),
    dot=difference(vector @ vector, loops("i,i", vector, vector)),
    dotc=difference(np.vdot(vector, vector), loops("i,i", vector.conj(), vector)),
    axpy=difference(np.dot(vector[:1, None], vector[None]), loops("i,j", vector[:1], vector)),
    gesv=difference(a @ linalg.solve(a, b), b), inverse=difference(a @ linalg.inv(a), identity),
    getrf=difference(linalg.det(small), np.prod(linalg.eigvals(small))),
    geev=difference(a @ vectors, vectors * values),
    heevd=difference(hermitian @ real_vectors, real_vectors * real_values), gesdd=difference(u * s @ v, b),
    geqrf=difference(q @ r, b), potrf=difference(factor @ factor.conj().T, hermitian),
    gelsd=difference(linalg.lstsq(b, b @ vector[:75], rcond=None)[0], vector[:75]),
)
try:
    linalg.inv(np.zeros((2, 2), dtype))
    singular = False
except linalg.LinAlgError:
    singular = True
print(json.dumps([singular, differences]))
"""
    singular, differences = python_in(image, code)
    assert singular
    assert {} == {name: value for name, value in differences.items() if not value < tolerance}


def test_functions_of_the_fortran_runtime(image: str) -> None:
    """blas.c computes powers and joins strings like Fortran. LAPACK's results rarely depend on them."""
    code = """
import ctypes, subprocess
subprocess.run(["gcc", "-shared", "-fPIC", "-o", "/tmp/blas.so", "/blas.c"], check=True)
library = ctypes.CDLL("/tmp/blas.so")
def power(name, kind, base, exponent):
    function = library[name]
    function.argtypes, function.restype = (kind, ctypes.c_int64), kind
    return function(base, exponent)
def join(length, first, second):
    result, sizes = ctypes.create_string_buffer(b"#" * length, length), map(ctypes.c_size_t, (length, len(first)))
    library._gfortran_concat_string(next(sizes), result, next(sizes), first, ctypes.c_size_t(len(second)), second)
    return result.raw.decode()
powers = [(2, 10), (2, -3), (2, 0), (-3, 3), (2, -1074)]
print(json.dumps([
    [power("_gfortran_pow_r8_i8", ctypes.c_double, *values) for values in powers],
    [power("_gfortran_pow_r4_i8", ctypes.c_float, *values) for values in powers],
    [join(6, b"ab", b"cd"), join(3, b"ab", b"cd"), join(1, b"ab", b"cd")],
]))
"""
    assert image  # built, so that the stage is cached
    build(f"{IMAGE}-packages", "--target", "packages")
    try:
        done = run("docker", "run", "--rm", f"{IMAGE}-packages", "python3", "-c", f"import json\n{code}")
    finally:
        execute("docker", "image", "rm", f"{IMAGE}-packages")
    doubles, floats, texts = json.loads(done)
    assert [1024, 0.125, 1, -27, 5e-324] == doubles
    assert [1024, 0.125, 1, -27, 0] == floats
    assert ["abcd  ", "abc", "a"] == texts


def test_onnxruntime_telemetry_is_off(image: str) -> None:
    """ONNX Runtime's telemetry is off: enabled, it prints a warning on a read-only disk."""
    done = execute("docker", "run", *LOCKED_DOWN, "--entrypoint", PYTHON, image, "-c", "import lambda_app.handler")
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("options", [(), IN_LAMBDA], ids=["outside of Lambda", "in Lambda"])
def test_batch_starts(image: str, options: tuple[str, ...]) -> None:
    """The batch finds its imports, botocore's model of S3 and certificates, signs, and accepts S3's test event."""
    code = """
import os, ssl
os.environ |= {"RESULTS_BUCKET": "results", "RESULTS_PREFIX": "pets/", "AWS_DEFAULT_REGION": "eu-central-1"}
os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
from lambda_app.batch.handler import scorer
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(scorer().reader.http.connection_from_url("https://s3.amazonaws.com").ca_certs)
signed = scorer().s3.generate_presigned_url("get_object", {"Bucket": "photos", "Key": "cat.jpg"})
is_signed, has_certificates = "Signature=" in signed, len(context.get_ca_certs()) > 100
print(json.dumps([scorer().score('{"Event": "s3:TestEvent"}'), has_certificates, is_signed]))
"""
    assert [None, True, True] == python_in(image, code, *options)
