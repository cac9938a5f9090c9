"""Create MLflow stores for tests: SQLite databases with MLflow's schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pytest
from mlflow.store.db import utils


def write_store(folder: Path) -> str:
    """Write a store without runs to FOLDER/mlflow.db, and return its address."""
    (folder / "mlflow.db").write_bytes(_empty())
    return f"sqlite:///{folder}/mlflow.db"


@cache
def _empty() -> bytes:
    """Return the bytes of an empty store. Cached, because MLflow's migrations take 2 s of CPU time."""
    with TemporaryDirectory() as folder:
        mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return (Path(folder) / "mlflow.db").read_bytes()


@contextmanager
def one_schema_lookup() -> Iterator[None]:
    """Cache MLflow's latest schema revision. Without the cache, each store loads all migrations (0.3 s)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_get_latest_schema_revision", cache(utils._get_latest_schema_revision))
        yield
