"""Send labeled photos to a live service as clients do, with their true labels as feedback.

Writes one JSON line per photo. If interrupted, run the command again with the same file to resume. Exits with 0 if
every photo was classified or refused and all feedback was accepted; with 1 if the service failed on a photo, which the
next run sends again; with 2 for invalid arguments.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path

from botocore.exceptions import BotoCoreError
from tqdm import tqdm

from infra.replay.journal import Answer, Journal, JournalError, read
from infra.replay.labeled_photos import Photo, PhotosError, check_labels, find_photos
from infra.replay.sender import Pace, Replay
from infra.smoke import target
from infra.smoke.messages import Ask, NoAnswer, at, get, json_of, text
from infra.smoke.url import UrlClient

parse_rate = partial(target.parse_number, allowed=lambda found: found > 0, expected="a positive number")
parse_delay = partial(
    target.parse_number, allowed=lambda found: found >= 0, expected="0 or a positive number of seconds"
)
parse_fraction = partial(target.parse_number, allowed=lambda found: 0 <= found <= 1, expected="a number from 0 to 1")


def main(arguments: list[str] | None = None) -> int:
    parser = _create_parser()
    options = parser.parse_args(arguments)
    pace = Pace(options.rate, share=options.share, delay_s=options.delay)
    try:
        auth = target.signer(options)
        photos = find_photos(options.photos)
        with Journal(options.output) as journal, UrlClient(options.url, auth=auth, timeout_s=options.timeout) as ask:
            class_names, version = _fetch_model_info(ask)
            check_labels(photos, class_names)
            journal.check(options.url, version)
            _send_remaining(photos, ask, pace, journal, options.url)
        answers = read(options.output)
    except (ValueError, BotoCoreError, PhotosError, JournalError) as error:
        parser.error(str(error))
    except NoAnswer as error:
        print(f"replay: {options.url}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted; run the same command again to resume with {options.output}", file=sys.stderr)
        return 130
    sent = [answers[photo.name] for photo in photos]
    print(summarize(sent))
    return 0 if all(answer.is_done for answer in sent) else 1


def _fetch_model_info(ask: Ask) -> tuple[list[str], str]:
    """Return the class names and the version of the served model. Raise `NoAnswer` if the response lacks them."""
    response = ask(get("/model/info"))
    class_names, version = (at(json_of(response), key) for key in ("class_names", "model_version"))
    if response.status != HTTPStatus.OK or not isinstance(class_names, list) or not isinstance(version, str):
        raise NoAnswer(f"GET /model/info answered {response.status}, expected class_names: {text(response)[:200]}")
    return class_names, version


def _send_remaining(photos: Sequence[Photo], ask: Ask, pace: Pace, journal: Journal, url: str) -> None:
    """Send the photos that have no final answer in the journal."""
    done = {name for name, answer in journal.answers.items() if answer.is_done}
    remaining = [photo for photo in photos if photo.name not in done]
    with tqdm(total=len(photos), initial=len(photos) - len(remaining), desc="replay", unit="photo") as bar:

        def write(answer: Answer) -> None:
            journal.write(answer.model_copy(update={"url": url}))
            bar.update()

        try:
            asyncio.run(Replay(ask, pace, write).send(remaining))
        except ExceptionGroup as group:  # it holds one exception: the first failure cancels the other tasks
            raise group.exceptions[0] from None
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


def summarize(answers: Sequence[Answer]) -> str:
    """Return one line with the counts of photos, of errors by code, and of accepted feedback."""
    errors = Counter(answer.error_code for answer in answers if answer.error_code)
    feedback = Counter(answer.feedback_status for answer in answers if answer.feedback_status is not None)
    parts = [f"{len(answers)} photos", f"{len(answers) - errors.total()} classified"]
    parts += [f"{count} {code}" for code, count in errors.most_common()]
    parts += [f"{feedback[HTTPStatus.OK]} of {feedback.total()} feedback requests accepted"]
    return ", ".join(parts)


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.replay", description=__doc__)
    target.add_arguments(parser)
    parser.add_argument("photos", type=Path, help="folder or .zip with one folder per class")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, default=Path("artifacts/replay.jsonl"), help="journal; %(default)s"
    )
    parser.add_argument("--rate", type=parse_rate, help="photos per second; as fast as answers come by default")
    parser.add_argument(
        "--share",
        type=parse_fraction,
        default=1.0,
        help="fraction of photos that get feedback, 0 to 1; %(default)s",
    )
    parser.add_argument(
        "--delay", metavar="SECONDS", type=parse_delay, default=0.0, help="from answer to feedback; %(default)s"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
