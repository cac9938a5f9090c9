"""Print exists=true or exists=false for a CloudWatch log group.

    python .github/scripts/log_group.py GROUP

The workflow Monitor skips the report before prod's first deployment. This script needs only the permission to read
the log.
"""

import sys

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session


def main(name: str) -> None:
    try:
        Session().create_client("logs").filter_log_events(logGroupName=name, limit=1)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise SystemExit(f"log group {name}: {error}") from None
        print("exists=false")
    except BotoCoreError as error:
        raise SystemExit(f"log group {name}: {error}") from None
    else:
        print("exists=true")


if __name__ == "__main__":
    main(sys.argv[1])
