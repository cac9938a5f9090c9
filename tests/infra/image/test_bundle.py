"""Test the bundle of the image's imports, and the finder that imports from it."""

import dataclasses
import inspect
import py_compile
import re
import sys
import traceback
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType

import pytest

from infra.image.bundle import is_bundled, record_methods, render_bundle
from infra.image.sitecustomize import Bundle, BundledLoader

SOURCES = {
    "bundled/__init__.py": "from bundled.failing import fail\n",
    "bundled/failing.py": "def fail():\n    raise ValueError('expected')\n",
    "bundled/other.py": "",
}
PATTERN = r"(?P<name>[a-z]+)(\d)*\b"
METHOD = "def method(): return 1"


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "bundled"]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Yield a folder on the path, with a package and its bytecode."""
    for name, source in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        py_compile.compile(str(path), doraise=True)
    (tmp_path / "bundled/data.txt").write_text("data")
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield tmp_path
    forget()


@pytest.fixture
def bundle(folder, tmp_path, monkeypatch) -> Path:
    """Return a bundle of the package without its module `other`, and import from it."""
    import_module("bundled")
    path = tmp_path / "imports.bundle"
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "bundled"}
    path.write_bytes(render_bundle(modules, [METHOD], [(PATTERN, int(re.IGNORECASE))]))
    forget()
    monkeypatch.setattr(sys, "meta_path", [Bundle(str(path)), *sys.meta_path])
    return path


def test_modules_come_from_the_bundle(bundle, folder):
    """A module of the bundle has its usual attributes, although its own files are not read."""
    (folder / "bundled/failing.py").write_text("raise SystemExit")
    module = import_module("bundled.failing")
    assert isinstance(module.__loader__, BundledLoader)
    assert str(folder / "bundled/failing.py") == module.__file__ == module.__spec__.origin
    assert Path(module.__cached__).is_file()
    assert [str(folder / "bundled")] == list(import_module("bundled").__path__)


def test_tracebacks_have_source_lines(bundle):
    """Tracebacks and `inspect` show the source, and resources of the package can be read."""
    package = import_module("bundled")
    with pytest.raises(ValueError, match="expected") as error:
        package.fail()
    assert "raise ValueError('expected')" in "".join(traceback.format_exception(error.value))
    assert SOURCES["bundled/failing.py"] == inspect.getsource(package.fail)
    assert "data" == resources.files("bundled").joinpath("data.txt").read_text()


def test_other_modules_are_imported_as_usual(bundle):
    """A module that is not in the bundle is imported from the folder of its package."""
    assert not isinstance(import_module("bundled.other").__loader__, BundledLoader)


@pytest.mark.parametrize("text", [METHOD, METHOD.replace("1", "2")])
def test_generated_methods_work_with_and_without_the_bundle(bundle, text):
    """A generated method returns the same whether the bundle has its bytecode or not."""
    methods: dict = {}
    Bundle(str(bundle)).define_methods(text, {}, methods)
    assert eval(text.rpartition(" ")[2]) == methods["method"]()


@pytest.mark.parametrize("flags", [re.IGNORECASE, 0])
def test_regular_expressions_match_with_and_without_the_bundle(bundle, flags):
    """A regular expression matches the same whether the bundle has its compiled form or not."""
    finder = Bundle(str(bundle))
    finder.original_compile = re._compiler.compile
    found, expected = finder.compile_pattern(PATTERN, flags), re.compile(PATTERN, flags)
    assert expected == found
    assert [match.groupdict() for match in expected.finditer("Ab1 c")] == [
        m.groupdict() for m in found.finditer("Ab1 c")
    ]


def test_methods_of_packages_are_recorded(monkeypatch):
    """Generated methods are recorded, except those of `lambda_app`, whose changes must not change the bundle."""
    monkeypatch.setattr(dataclasses, "exec", exec, raising=False)
    texts = record_methods()
    for name, field in (("package", "x"), ("lambda_app.module", "y")):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(f"import dataclasses\n@dataclasses.dataclass\nclass Point:\n    {field}: int", vars(module))
        assert {field: 3} == vars(module.Point(3))
    assert "self.x=x" in "".join(texts)
    assert "self.y=y" not in "".join(texts)


def test_modules_of_lambda_app_are_not_bundled():
    """The bundle has no module of `lambda_app`, so that a change of our code does not change it."""
    assert not is_bundled("lambda_app.errors", import_module("lambda_app.errors"))
    assert is_bundled("json.decoder", import_module("json.decoder"))
