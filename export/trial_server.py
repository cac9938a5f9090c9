"""Serve a model file in Lambda's runtime for a trial, and classify photos over HTTP as a client does."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from training.state import ROOT

TIMEOUT_S = 600  # generous, for a busy machine
Classify = Callable[[bytes], dict[str, Any]]  # returns the response of POST /predict to a photo


class TrialError(SystemExit):
    """A trial cannot run; the message names the reason."""


@contextmanager
def serve(model: Path) -> Iterator[Classify]:
    """Start `infra.emulator.serve` with the model, and stop it at the end. Raise `TrialError` if it does not start."""
    command = [sys.executable, "-m", "infra.emulator.serve", "--port", "0"]
    environment = os.environ | {"MODEL_PATH": str(model.resolve())}
    with (
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor(1) as reader,
    ):
        assert process.stdout is not None
        first = process.stdout.readline()
        address = re.search(r"http://[\d.:]+", first)
        if not address:
            raise TrialError(
                f"the emulator did not start ({first.strip() or 'see its error above'}); run `make demo` first"
            )
        reader.submit(process.stdout.read)  # discards the log, because a full pipe would block the function
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy for a local address
                yield lambda photo: _predict(session, address[0], photo)
        finally:
            process.terminate()


def _predict(session: requests.Session, url: str, photo: bytes) -> dict[str, Any]:
    response = session.post(f"{url}/predict", data=photo, headers={"Content-Type": "image/jpeg"}, timeout=TIMEOUT_S)
    if not response.ok:
        raise TrialError(f"POST /predict answered {response.status_code}: {response.text[:200]}; expected 200")
    return dict(response.json())
