"""Transform a SAM template to CloudFormation: `python -m infra.localstack.translate TEMPLATE [NAME=VALUE …]`.

Runs in SAM CLI's environment, which has AWS's translator. LocalStack 4.14 supports the transform, but resolves
references before it, and so does not find the resources that SAM generates (`!Ref Classifier.Version`).
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from samtranslator.translator.transform import transform  # type: ignore[import-not-found]  # see above
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-not-found]  # see above

NO_POLICIES = SimpleNamespace(load=dict)  # AWS's managed policies; the template uses none


def main(path: str, *parameters: str) -> None:
    values = dict(parameter.split("=", 1) for parameter in parameters)
    print(json.dumps(transform(yaml_parse(Path(path).read_text()), values, NO_POLICIES)))


if __name__ == "__main__":
    main(*sys.argv[1:])
