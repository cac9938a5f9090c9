"""Transform a SAM template to CloudFormation: `python -m infra.aws.translate TEMPLATE [NAME=VALUE …]`.

Runs in SAM CLI's environment, which has AWS's translator. LocalStack 4.14 supports the transform, but resolves
references before it, and so does not find the resources that SAM generates (`!Ref Classifier.Version`).
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from samtranslator.translator.transform import transform  # type: ignore[import-not-found]  # see above
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-not-found]  # see above

NO_POLICIES = SimpleNamespace(load=dict)  # AWS's managed policies; the template uses none


def translate(path: Path, parameters: Mapping[str, str]) -> Any:
    """Return the CloudFormation template of a SAM template with these values of its parameters."""
    return transform(yaml_parse(path.read_text()), dict(parameters), NO_POLICIES)


def main(path: str, *assignments: str) -> None:
    parameters = dict(assignment.split("=", 1) for assignment in assignments)
    print(json.dumps(translate(Path(path), parameters)))


if __name__ == "__main__":
    main(*sys.argv[1:])
