"""Asks through Lambda's Invoke API, as a function URL would: for a version that no URL leads to yet."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from infra.emulator.event import DOMAIN, HttpRequest, to_event, to_payload
from infra.emulator.response import HttpResponse, MalformedResponse, to_response
from infra.smoke.answers import SYNTHETIC, Ask, NoAnswer

TIMEOUT_S = 20  # more than the function's own, as in template.yaml
# Twice: a busy function throttles, and that says nothing about the new version.
CONFIG = Config(connect_timeout=5, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 2, "mode": "standard"})


def invoke(function: str) -> Ask:
    """Of a function by name or ARN, with the region and the credentials of the environment."""
    client = Session().create_client("lambda", config=CONFIG)

    def ask(request: HttpRequest) -> HttpResponse:
        request = replace(request, headers=(("host", DOMAIN), SYNTHETIC, *request.headers))
        event = to_event(request, request_id=str(uuid.uuid4()), now=datetime.now(UTC))
        try:
            return _response(client.invoke(FunctionName=function, Payload=to_payload(event)))
        except (BotoCoreError, ClientError, MalformedResponse) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    return ask


def _response(reply: Mapping[str, Any]) -> HttpResponse:
    payload: bytes = reply["Payload"].read()
    if "FunctionError" in reply:
        raise NoAnswer(f"{reply['FunctionError']} error of the function: {payload[:300].decode('utf-8', 'replace')}")
    return to_response(payload)
