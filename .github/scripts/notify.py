"""Publish a message to the alarm topic.

    python .github/scripts/notify.py TOPIC SUBJECT MESSAGE

The workflow Notify calls this script.
"""

import sys

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

MAX_SUBJECT = 99  # characters; SNS's limit


def main(topic: str, subject: str, message: str) -> None:
    """Publish to the region in the topic's ARN: a wrong `AWS_REGION` is one of the failures to report.

    Exit with an error that names the topic if SNS refuses.
    """
    region = (topic.split(":") + [""] * 4)[3]
    try:
        client = Session().create_client("sns", region_name=region or None)
        client.publish(TopicArn=topic, Subject=subject[:MAX_SUBJECT], Message=message)
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"topic {topic!r}: {error}; expected the bootstrap's AlarmTopic") from None


if __name__ == "__main__":
    main(*sys.argv[1:4])
