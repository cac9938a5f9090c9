"""A week that was good, by which drift is judged from then on, in place of the model's test photos.

Writes artifacts/baseline.json: the numbers and classes of a sample of its photos, in no order. Have a look at the
week's report first. A new model needs a baseline of its own; until then its test photos do.

    python -m infra.report.baseline /aws/lambda/pet-classifier-prod --since 7d
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from infra.emulator.runtime import ROOT
from infra.report import alarms, log_source, traffic
from infra.report.drift import JUDGED
from infra.report.log_reader import Log, read

BASELINE = ROOT / "artifacts/baseline.json"
FEWEST = 500  # photos: of 100, drift would be found in weeks only
MOST = 2000  # more would make the file large, and the limits hardly finer


class TooFew(Exception):
    """The log holds too few photos; the message names their number."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.report.baseline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    log_source.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=BASELINE, help="file to write")
    options = parser.parse_args(arguments)
    try:
        log = read(log_source.lines(options.source, options.since), options.since, synthetic=options.synthetic)
        text = sample(log)
        options.out.write_text(text)
    except (log_source.SourceError, TooFew, OSError) as error:
        print(f"baseline: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(f"wrote {options.out}: drift is judged by it as long as its model serves")
    return 0


def sample(log: Log) -> str:
    """The file, of the version that serves. Raises TooFew."""
    version = traffic.serving(log.requests) or "any version"
    photos = alarms.photos(log.requests, version)
    if len(photos) < FEWEST:
        raise TooFew(f"the log has {len(photos)} predictions of {version} with every signal; expected {FEWEST} or more")
    photos = photos.where(np.random.default_rng(0).permutation(len(photos))[:MOST])
    columns = {name: photos[name].tolist() for name in JUDGED}
    return json.dumps({"model_version": version, "photos": len(photos), "columns": columns}) + "\n"


if __name__ == "__main__":
    sys.exit(main())
