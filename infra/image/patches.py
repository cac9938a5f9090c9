"""Patch pinned packages in the image, to skip work at import that this function never uses.

`Dockerfile.lambda` runs `python3 patches.py FOLDER` on the installed packages. Without the patches, the function
behaves the same but starts later. Each patch has the SHA-256 of the file that it was written for. If a new version of a
package changes this file, the build and `tests/infra/image/test_patches.py` fail. Read the new file, then update the
patch and its hash, or delete the patch.
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path


class PatchError(Exception):
    """A file differs from the one that its patch was written for."""


@dataclass(frozen=True)
class Patch:
    """Replacements in one file. Without replacements, the file becomes empty."""

    file: str  # relative to the folder of the packages
    sha256: str  # of the original file
    reason: str
    replacements: tuple[tuple[str, str], ...] = ()

    def apply(self, text: str) -> str:
        """Return the patched text. Raise `PatchError` if it differs from the file that the patch was written for."""
        found = hashlib.sha256(text.encode()).hexdigest()
        if found != self.sha256:
            raise PatchError(
                f"{self.file} has the SHA-256 {found}; expected {self.sha256}: its package changed. Compare the new "
                f"file with its patch in infra/image/patches.py ({self.reason}), then set the new hash or delete the "
                "patch"
            )
        for old, new in self.replacements:
            if text.count(old) != 1:
                raise PatchError(f"{self.file} contains {old!r} {text.count(old)} times; expected once")
            text = text.replace(old, new)
        return text if self.replacements else ""


RESPONSES = (
    ("import http.client\n", "from http import HTTPStatus\n"),
    ("http.client.responses.get(", "{status.value: status.phrase for status in HTTPStatus}.get("),
)
PATCHES = (
    Patch(
        "fastapi/openapi/models.py",
        "b708c95867fa95c29125981a6427274344de9f584385cc822e06ebeed5c83f7d",
        "pydantic builds the 40 models of the OpenAPI document only when /openapi.json is first requested",
        (
            ('model_config = {"extra": "allow"}', 'model_config = {"extra": "allow", "defer_build": True}'),
            ("Schema.model_rebuild()\nOperation.model_rebuild()\nEncoding.model_rebuild()\n", ""),
        ),
    ),
    Patch(
        "fastapi/openapi/utils.py",
        "1651b827d050ec10882bc64a1c58cfd0b5498310ee65871bbcac03f59d15d55b",
        "it needs only the names of status codes from http.client, which imports ssl and email",
        RESPONSES,
    ),
    Patch(
        "starlette/exceptions.py",
        "fb4b0d98d34b6b8ea0f55eb1a6ca8eaaa3f00d124ca1ee2f12a0c06c25502535",
        "it needs only the names of status codes from http.client, as fastapi/openapi/utils.py does",
        RESPONSES,
    ),
    Patch(
        "fastapi/security/oauth2.py",
        "4398f05b909baa6519c67cf03c17d7db3930f314432ba96ffd76634dd20a0171",
        "a default value would build one of the 40 OpenAPI models; the function has no OAuth 2 routes",
        (("] = OAuthFlowsModel(),", "] = OAuthFlowsModel.model_construct(),"),),
    ),
    Patch(
        "fastapi/telemetry/_api.py",
        "05a0297082fe9a9dbe14b27221d25dfc5209fedf76418dbf4db8b2560e2e4606",
        "FastAPI imports 30 modules of OpenTelemetry, which are never used: create_app turns FastAPI's telemetry off",
        (
            (
                "from collections.abc import Callable, Iterator",
                "from __future__ import annotations\n\nfrom collections.abc import Callable, Iterator",
            ),
            (
                (
                    "from opentelemetry import context as otel_context\n"
                    "from opentelemetry._logs import Logger, LoggerProvider, SeverityNumber\n"
                    "from opentelemetry.context import Context\n"
                    "from opentelemetry.metrics import MeterProvider\n"
                    "from opentelemetry.trace import Span, StatusCode, Tracer, TracerProvider\n"
                ),
                "",
            ),
            ('otel_context.create_key("fastapi.request")', '"fastapi.request"'),
            (
                (
                    "    value = otel_context.get_value(_REQUEST_TELEMETRY_KEY, context)\n"
                    "    return value if isinstance(value, _RequestTelemetry) else None\n"
                ),
                "    return None\n",
            ),
        ),
    ),
    Patch(
        "fastapi/telemetry/_asgi.py",
        "e9207b062712f4c0c9fd41e371755756fe5723c114355a70d45b33f033ad8c2a",
        "it imports OpenTelemetry, which is never used: create_app turns FastAPI's telemetry off",
        (
            ("import os\nfrom contextlib", "from __future__ import annotations\n\nimport os\nfrom contextlib"),
            (
                (
                    "from opentelemetry import _logs, metrics, propagate, trace\n"
                    "from opentelemetry import context as otel_context\n"
                    "from opentelemetry._logs import SeverityNumber\n"
                    "from opentelemetry.metrics import Histogram, UpDownCounter\n"
                    "from opentelemetry.propagators.textmap import Getter\n"
                    "from opentelemetry.trace import SpanKind, StatusCode\n"
                ),
                "",
            ),
            ("_HeadersGetter(Getter[Headers])", "_HeadersGetter"),
        ),
    ),
    Patch(
        "numpy/_core/_add_newdocs.py",
        "bdb68c6da2f3a1048cb2d6123afb6ede6f2bee88c88acb4d330c5485dc1324ce",
        "it only adds docstrings to functions written in C, and the image has no docstrings",
    ),
    Patch(
        "numpy/_core/_add_newdocs_scalars.py",
        "db6f2b889f9dcfd7d5df64ef3a430f532b3fdbfc279c3b94f8451b1757a16efb",
        "it only adds docstrings to the scalar types, and the image has no docstrings",
    ),
    Patch(
        "pydantic_core/core_schema.py",
        "79546d1a51561f7f92ce3861b342e67d0c1f076d13175e47bda73db71167a867",
        "85 TypedDict classes, which only type checkers read, become plain classes: 3 % of a cold start",
        (
            (
                "    from typing import TypedDict\n",
                "    class TypedDict(dict):\n        def __init_subclass__(cls, total=True):\n            pass\n",
            ),
        ),
    ),
)


def patch_packages(folder: Path) -> None:
    """Patch the packages in the folder. If a patch does not fit, raise `PatchError` and change no file."""
    patched = {patch.file: patch.apply((folder / patch.file).read_text()) for patch in PATCHES}
    for file, text in patched.items():
        (folder / file).write_text(text)


if __name__ == "__main__":
    try:
        patch_packages(Path(sys.argv[1]))
    except PatchError as error:
        sys.exit(f"patches.py: {error}")
