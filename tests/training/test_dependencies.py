"""Test that a stage of dvc.yaml reruns when code that decides its result changes, and only then."""

import ast
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from training.state import CODE, hash_code

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PACKAGES = ("export", "lambda_app", "training")
DATA = {"md", "onnx"}  # suffixes of dependencies that are not code
# Modules that many stages import although they do not decide their results.
COMMON = {
    "export/files.py",  # DVC compares the files themselves
    "lambda_app/errors.py",
    "training/csv_file.py",  # formats the manifest, which is a dependency
    "training/config.py",  # DVC compares the values of params.yaml
    "training/interruption.py",  # ends the program
    "training/reviewed.py",  # decides the manifest, which is a dependency
    "training/split.py",  # decides the manifest
    "training/tracking.py",  # logs to MLflow
}
# Further modules and packages that one stage imports for something that does not decide its result.
IRRELEVANT = {
    "train": {"training/plots.py"},  # draws the learning curves of a finished training
    "convert": {"lambda_app/decoding", "lambda_app/preprocess.py", "training/source"},  # no photo is read
    "card": {  # no photo is read
        "lambda_app/decoding",
        "lambda_app/preprocess.py",
        "training/predictions.py",
        "training/source",
    },
}


def import_closure(path: Path) -> set[str]:
    """Return the modules of `PACKAGES` that a module imports, directly or through others, and the module itself."""
    found, todo = {path}, [path]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            if not isinstance(node, ast.ImportFrom) or str(node.module).split(".")[0] not in PACKAGES:
                continue
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            places = [ROOT / name.replace(".", "/") for name in names]
            files = (file for place in places for file in (place.with_suffix(".py"), place / "__init__.py"))
            modules = {file for file in files if file.exists()}
            todo += modules - found
            found |= modules
    return {module.relative_to(ROOT).as_posix() for module in found if module.name != "__init__.py"}


def covers(dependency: str, module: str) -> bool:
    """Return whether a dependency is this module or a package that contains it."""
    return dependency == module or module.startswith(f"{dependency}/")


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_code_that_decides_its_result(stage):
    """A stage depends on every module that it imports, except for those listed as irrelevant, and on no other code."""
    module = STAGES[stage]["cmd"].rpartition(" ")[2].replace(".", "/")
    imported = import_closure(ROOT / f"{module}.py")
    code = [name for name in STAGES[stage]["deps"] if name.startswith(PACKAGES) and Path(name).suffix[1:] not in DATA]
    assert [] == [name for name in code if not any(covers(name, module) for module in imported)]
    others = {module for module in imported - COMMON if not any(covers(name, module) for name in code)}
    irrelevant = IRRELEVANT.get(stage, set())
    assert set() == {module for module in others if not any(covers(name, module) for name in irrelevant)}
    assert set() == {name for name in irrelevant if not any(covers(name, module) for module in others)}


def test_hash_code_covers_every_dependency(tmp_path):
    """The hash in a training state changes with each file of code that dvc.yaml lists, and with nothing else."""
    names = [name for name in STAGES["train"]["deps"] if name.startswith(CODE)]
    for name in (*names, "dvc.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, tmp_path / name)
    files = [file for name in names for file in [tmp_path / name, *(tmp_path / name).rglob("*.py")] if file.is_file()]
    hashes = {hash_code(tmp_path)}
    for file in files:
        file.write_text(file.read_text() + "# changed\n")
        hashes.add(hash_code(tmp_path))
    assert len(files) + 1 == len(hashes)
    (tmp_path / "training/plots.py").write_text("# not a dependency\n")
    assert hash_code(tmp_path) in hashes
