"""Provide a project in which a test prepares a data set."""

import pytest

from tests.training.workspace import write_params


@pytest.fixture
def data(project):
    """Return a project with a catalog, in which DATA is prepared by `run`."""
    (project / "data/raw").mkdir(parents=True)
    (project / "data/datasets.yaml").write_text("petimages: {file: pets.zip}\n")
    write_params(project, prepare__train_share=0.6)
    return project
