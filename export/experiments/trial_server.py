"""Serve a model file in Lambda's runtime for a trial, and classify and contribute photos over HTTP like a client."""

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

from training import ROOT
from training.interruption import UserError

TIMEOUT_S = 600  # generous, for a busy machine


@dataclass(frozen=True)
class Client:
    """Send requests to the server. Raise `UserError` if it rejects one."""

    url: str
    session: requests.Session

    def classify(self, photo: bytes) -> dict[str, Any]:
        """Return the response of POST /predict."""
        return self._post("/predict", data=photo, headers={"Content-Type": "image/jpeg"})

    def contribute(self, photo: bytes, label: str, request_id: str) -> None:
        """Contribute a photo with its true label, like a visitor of the page who consents."""
        form = {"request_id": request_id, "label": label, "consent": "true"}
        self._post("/feedback", data=form, files={"file": ("photo.jpg", photo, "image/jpeg")})

    def _post(self, path: str, **request: Any) -> dict[str, Any]:
        response = self.session.post(f"{self.url}{path}", timeout=TIMEOUT_S, **request)
        if not response.ok:
            raise UserError(f"POST {path} answered {response.status_code}: {response.text[:200]}; expected 2xx")
        return dict(response.json())


@contextmanager
def serve(model: Path, contributions: str = "") -> Iterator[Client]:
    """Start `infra.emulator.serve` with the model, yield a client, and stop the server at the end.

    The server stores contributed photos in `contributions`, s3://BUCKET or a folder, and accepts none if it is empty.
    Raise `UserError` if the server does not start.
    """
    command = [sys.executable, "-m", "infra.emulator.serve", "--port", "0"]
    variables = {
        "MODEL_PATH": str(model.resolve()),
        "CONTRIBUTIONS": contributions,
        "CONTRIBUTIONS_PER_HOUR": "1000000",  # no limit, because a trial contributes all photos at once
    }
    with (
        subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor(1) as reader,
    ):
        assert process.stdout is not None
        first_line = process.stdout.readline()
        address = re.search(r"http://[\d.:]+", first_line)
        if not address:
            raise UserError(
                f"the emulator did not start ({first_line.strip() or 'see its error above'}); run `make demo` first"
            )
        reader.submit(process.stdout.read)  # discard the log, because a full pipe would block the function
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy for a local address
                yield Client(address[0], session)
        finally:
            process.terminate()
