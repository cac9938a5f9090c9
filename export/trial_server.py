"""Serve a model file in Lambda's runtime for a trial, and classify and contribute photos over HTTP as a client does."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from training.state import ROOT

TIMEOUT_S = 600  # generous, for a busy machine


class TrialError(SystemExit):
    """A trial cannot run; the message names the reason."""


@dataclass(frozen=True)
class Client:
    """A client of the server. Raises `TrialError` if the server rejects a request."""

    url: str
    session: requests.Session

    def classify(self, photo: bytes) -> dict[str, Any]:
        """Return the response of POST /predict."""
        return self._post("/predict", data=photo, headers={"Content-Type": "image/jpeg"})

    def contribute(self, photo: bytes, label: str, request_id: str) -> None:
        """Contribute a photo with its true label, as the page does with the consent of a visitor."""
        form = {"request_id": request_id, "label": label, "consent": "true"}
        self._post("/feedback", data=form, files={"file": ("photo.jpg", photo, "image/jpeg")})

    def _post(self, path: str, **request: Any) -> dict[str, Any]:
        response = self.session.post(f"{self.url}{path}", timeout=TIMEOUT_S, **request)
        if not response.ok:
            raise TrialError(f"POST {path} answered {response.status_code}: {response.text[:200]}; expected 2xx")
        return dict(response.json())


@contextmanager
def serve(model: Path, contributions: str = "") -> Iterator[Client]:
    """Start `infra.emulator.serve` with the model, and stop it at the end. Raise `TrialError` if it does not start.

    The server stores contributed photos in `contributions`, s3://BUCKET or a folder, and accepts none if it is empty.
    """
    command = [sys.executable, "-m", "infra.emulator.serve", "--port", "0"]
    variables = {
        "MODEL_PATH": str(model.resolve()),
        "CONTRIBUTIONS": contributions,
        "CONTRIBUTIONS_PER_HOUR": "1000000",  # a trial contributes all mistakes at once
    }
    with (
        subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, text=True) as process,
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
                yield Client(address[0], session)
        finally:
            process.terminate()
