"""MLflow stores for tests. Every store is a real SQLite database with MLflow's own schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pytest
from mlflow.store.db import utils


def write_store(folder: Path) -> str:
    """Put a store without a run at FOLDER/mlflow.db; return its address."""
    (folder / "mlflow.db").write_bytes(_empty())
    return f"sqlite:///{folder}/mlflow.db"


@cache
def _empty() -> bytes:
    """Let MLflow create a store: its migrations, one after the other, take 2 s of CPU time."""
    with TemporaryDirectory() as folder:
        mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return (Path(folder) / "mlflow.db").read_bytes()


@contextmanager
def one_schema_lookup() -> Iterator[None]:
    """Cache MLflow's latest schema revision. Without the cache, each store loads all migrations (0.3 s)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_get_latest_schema_revision", cache(utils._get_latest_schema_revision))
        yield
