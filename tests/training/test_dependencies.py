"""Code dependencies in dvc.yaml: a stage reruns when code that decides its result changes, and only then."""

import ast
import shutil
from pathlib import Path

import pytest
import yaml

from tests.training.workspace import ROOT
from training.state import CODE, hash_code

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Modules that a stage imports although they do not decide its result.
IRRELEVANT = {
    "prepare": {
        "training/config.py",  # DVC compares the values of params.yaml
        "training/interruption.py",  # ends the program
    },
    "train": {
        "training/config.py",
        "training/interruption.py",
        "training/plots.py",  # draws the learning curves of a finished training
        "training/split.py",  # decides the manifest, which is a dependency
        "training/tracking.py",  # logs to MLflow
    },
    "evaluate": {
        "training/config.py",
        "training/interruption.py",
        "training/reviewed.py",
        "training/split.py",
        "training/tracking.py",
    },
}


def import_closure(path: Path) -> set[Path]:
    """Return the modules of `training` that a module imports, directly or through others, and the module itself."""
    found, todo = {path}, [path]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            if not isinstance(node, ast.ImportFrom) or not str(node.module).startswith("training"):
                continue
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            places = [ROOT / name.replace(".", "/") for name in names]
            files = (file for place in places for file in (place.with_suffix(".py"), place / "__init__.py"))
            modules = {file for file in files if file.exists()}
            todo += modules - found
            found |= modules
    return found


def to_dependency(module: Path) -> str:
    """Return the name in dvc.yaml: for a module of a package inside `training`, the folder of the package."""
    place = module.parent if module.parent.parent == ROOT / "training" else module
    return place.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("stage", IRRELEVANT)
def test_stage_depends_on_code_that_decides_its_result(stage):
    """A stage depends on every module of `training` that it imports, except for those listed as irrelevant."""
    imported = {to_dependency(path) for path in import_closure(ROOT / f"training/{stage}.py")}
    imported -= {"training/__init__.py"}  # only sets how interruptions and errors are printed
    assert IRRELEVANT[stage] <= imported
    assert imported - IRRELEVANT[stage] == {name for name in STAGES[stage]["deps"] if name.startswith("training/")}


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
