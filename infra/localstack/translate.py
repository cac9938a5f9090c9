"""`python -m infra.localstack.translate TEMPLATE [NAME=VALUE …]`: a SAM template as CloudFormation.

Run by SAM CLI's environment, which alone has AWS's translator. LocalStack 4.14 knows the transform as well, but
resolves references before it, and so finds none of the resources that SAM makes (`!Ref Classifier.Version`).
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from samtranslator.translator.transform import transform  # type: ignore[import-not-found]  # see above
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-not-found]  # likewise

NO_POLICIES = SimpleNamespace(load=dict)  # the names of AWS's managed policies, of which the template uses none


def main(path: str, *parameters: str) -> None:
    given = dict(parameter.split("=", 1) for parameter in parameters)
    print(json.dumps(transform(yaml_parse(Path(path).read_text()), given, NO_POLICIES)))


if __name__ == "__main__":
    main(*sys.argv[1:])
