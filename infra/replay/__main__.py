"""Sends labelled photos to a live service as its clients would, and what they show as feedback.

Writes one JSON line a photo. Started again with the same file it goes on where it was. Exit code 0 where every photo
was classified or refused and all feedback taken; 1 where the service failed at a photo, which is sent again next time;
2 for bad arguments.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from botocore.exceptions import BotoCoreError
from tqdm import tqdm

from infra.replay.journal import Answer, Journal, JournalError, read
from infra.replay.labeled_photos import Photo, PhotosError, check_labels, find
from infra.replay.sender import Pace, Replay
from infra.smoke import target
from infra.smoke.answers import Ask, NoAnswer, at, get, json_of, text
from infra.smoke.url import Url


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    pace = Pace(options.rate, options.at_a_time, options.share, options.delay)
    try:
        auth = target.signer(options)
        photos = find(options.photos)
        with Journal(options.output) as journal, Url(options.url, auth=auth, timeout_s=options.timeout) as ask:
            names, version = _model(ask)
            check_labels(photos, names)
            journal.check(options.url, version)
            _send(photos, ask, pace, journal, options.url)
        answers = read(options.output)
    except (ValueError, BotoCoreError, PhotosError, JournalError) as error:
        parser.error(str(error))
    except NoAnswer as error:
        print(f"collect_feedback: {options.url}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on with {options.output}", file=sys.stderr)
        return 130
    done = [answers[photo.name] for photo in photos]
    print(summary(done))
    return 0 if all(answer.done for answer in done) else 1


def _model(ask: Ask) -> tuple[list[str], str]:
    """Its classes, and its version."""
    response = ask(get("/model/info"))
    names, version = (at(json_of(response), key) for key in ("class_names", "model_version"))
    if response.status != HTTPStatus.OK or not isinstance(names, list) or not isinstance(version, str):
        raise NoAnswer(f"GET /model/info answered {response.status}, expected class_names: {text(response)[:200]}")
    return names, version


def _send(photos: Sequence[Photo], ask: Ask, pace: Pace, journal: Journal, url: str) -> None:
    done = {name for name, answer in journal.answers.items() if answer.done}
    left = [photo for photo in photos if photo.name not in done]
    with tqdm(total=len(photos), initial=len(photos) - len(left), desc="replay", unit="photo") as bar:

        def write(answer: Answer) -> None:
            journal.write(answer.model_copy(update={"url": url}))
            bar.update()

        try:
            asyncio.run(Replay(ask, pace, write).send(left))
        except ExceptionGroup as group:  # of one: what fails first ends the others
            raise group.exceptions[0] from None


def summary(answers: Sequence[Answer]) -> str:
    """One line: photos, what was refused and why, feedback."""
    refused = Counter(answer.error_code for answer in answers if answer.error_code)
    feedback = Counter(answer.feedback_status for answer in answers if answer.feedback_status is not None)
    parts = [f"{len(answers)} photos", f"{len(answers) - refused.total()} classified"]
    parts += [f"{count} {code}" for code, count in refused.most_common()]
    parts += [f"{feedback[HTTPStatus.OK]} of {feedback.total()} feedbacks taken"]
    return ", ".join(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.replay", description=__doc__)
    target.add_arguments(parser)
    parser.add_argument("photos", type=Path, help="a folder or a .zip, with one folder a class")
    parser.add_argument("--output", metavar="FILE", type=Path, default=Path("artifacts/replay.jsonl"))
    parser.add_argument("--rate", type=target.positive, help="photos a second; as fast as answers come by default")
    parser.add_argument("--at-a-time", metavar="N", type=_count, default=4, help="requests at most; 4")
    parser.add_argument("--share", type=_share, default=1.0, help="of the photos that get feedback, 0 to 1; all")
    parser.add_argument("--delay", metavar="SECONDS", type=_delay, default=0.0, help="from answer to feedback; 0")
    return parser


def _count(value: str) -> int:
    if not value.isdecimal() or not int(value):
        raise argparse.ArgumentTypeError(f"{value!r}: expected a number from 1")
    return int(value)


def _delay(value: str) -> float:
    return 0.0 if value == "0" else target.seconds(value)


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{value!r}: expected a number from 0 to 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
