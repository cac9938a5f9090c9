"""Write a baseline: a good week of traffic that replaces the model's test photos as the reference for drift.

Writes artifacts/baseline.json: the signals and classes of a random sample of the week's photos. Check the report of the
week first. A new model needs a new baseline; until it has one, drift is judged by its test photos.

    python -m infra.report.baseline /aws/lambda/pet-classifier-prod --since 7d
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from infra import ROOT
from infra.report import alarms, log_source, traffic
from infra.report.drift import SIGNAL_COLUMNS
from infra.report.log_reader import Log, read

BASELINE = ROOT / "artifacts/baseline.json"
MIN_BASELINE_PHOTOS = 500  # with 100, detecting drift would take weeks
MAX_PHOTOS = 2000  # more would enlarge the file and barely tighten the limits


class TooFewPhotos(Exception):
    """The log holds too few photos for a baseline. The message names their number."""


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
        log = read(log_source.stream_lines(options.source, options.since), options.since, synthetic=options.synthetic)
        options.out.write_text(render_sample(log))
    except (log_source.LogSourceError, TooFewPhotos, OSError) as error:
        print(f"baseline: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(f"wrote {options.out}: the reference for drift while the same model version serves")
    return 0


def render_sample(log: Log) -> str:
    """Return the baseline of the serving version as JSON. Raise `TooFewPhotos`."""
    version = traffic.serving_version(log.requests) or "any version"
    photos = alarms.select_photos(log.requests, version)
    if len(photos) < MIN_BASELINE_PHOTOS:
        raise TooFewPhotos(
            f"the log has {len(photos)} predictions of {version} with every signal; "
            f"expected {MIN_BASELINE_PHOTOS} or more"
        )
    photos = photos.iloc[np.random.default_rng(0).permutation(len(photos))[:MAX_PHOTOS]]
    columns = {name: photos[name].tolist() for name in SIGNAL_COLUMNS}
    return json.dumps({"model_version": version, "photos": len(photos), "columns": columns}) + "\n"


if __name__ == "__main__":
    sys.exit(main())
