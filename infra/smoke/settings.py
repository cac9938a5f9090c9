"""Compare who may call a deployed URL, and how often, with the environment's parameter file.

Not in the image: it reads the parameter files, and only the command line imports it.
"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.deployed import NotKnown
from infra.aws.parameters import load_parameters
from infra.aws.stack import ALIAS, Stack
from infra.smoke.answers import Check, NoAnswer, Pair

UNRESERVED = "-1"


def settings_check(environment: str) -> Check:
    return Check(f"settings of {environment}", lambda: compare_settings(environment))


def compare_settings(environment: str) -> Pair:
    """Return the settings in the parameter files, and those that Lambda applies. Raise `NoAnswer` if AWS has none."""
    try:
        stack = Stack.read(environment)
        applied = _applied(stack.client("lambda"), stack.function)
    except (BotoCoreError, ClientError, NotKnown) as error:
        raise NoAnswer(str(error)) from error
    return _configured(load_parameters(environment)), applied


def _configured(parameters: Mapping[str, str]) -> dict[str, Any]:
    reserved, origin = parameters["ReservedConcurrency"], parameters["CorsOrigin"]
    return {
        "auth": parameters["UrlAuthType"],
        "cors": [origin] if origin else [],
        "reserved_concurrency": None if reserved == UNRESERVED else int(reserved),
    }


def _applied(client: Any, name: str) -> dict[str, Any]:
    url = client.get_function_url_config(FunctionName=name, Qualifier=ALIAS)
    concurrency = client.get_function_concurrency(FunctionName=name)
    return {
        "auth": url["AuthType"],
        "cors": url.get("Cors", {}).get("AllowOrigins", []),
        "reserved_concurrency": concurrency.get("ReservedConcurrentExecutions"),
    }
