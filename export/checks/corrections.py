"""Compare challenger and champion on held-back contributions: photos from users, on which no model was trained.

Users contribute mostly photos that the champion got wrong. Any other model is right on some of them, so an advantage
here decides only together with the test photos, on which the challenger has to be as good.
"""

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from export.checks.comparison import Paired, are_correct
from lambda_app.classifier import Classifier
from training.config import Release
from training.data import Photos, Preprocessor
from training.harvest.data_set import CORRECTED, HELD_BACK, read_labels
from training.source import Source


@dataclass(frozen=True)
class Corrections:
    """Count photos that users corrected, and on how many of them each model is right."""

    photos: int
    challenger: int
    champion: int
    paired: Paired  # on all held-back contributions, confirmed ones included

    def __str__(self) -> str:
        return (
            f"the new model is right on {self.challenger:,} of {self.photos:,} photos that users corrected; "
            f"the old one was on {self.champion:,}"
        )

    def is_better(self, rule: Release) -> bool:
        return self.paired.p_value <= 1 - rule.confidence

    def is_worse(self, rule: Release) -> bool:
        paired = self.paired
        return Paired(paired.photos, paired.lost, paired.gained).p_value <= 1 - rule.confidence

    def summarize(self) -> dict[str, Any]:
        return asdict(self)


def compare_corrections(challenger: Classifier, champion: Classifier) -> Corrections | None:
    """Return the counts, or None if no photo of the models' classes is held back."""
    names = challenger.metadata.class_names
    labels = {path: label for path, label in read_labels(HELD_BACK).items() if label in names}
    if not labels:
        return None
    new, old = (
        are_correct(model, Photos(Source(HELD_BACK), labels, list(names), Preprocessor(model.metadata.image_size)))
        for model in (challenger, champion)
    )
    corrected = [path.startswith(f"{PurePosixPath(CORRECTED).name}/") for path in sorted(labels)]
    return Corrections(
        sum(corrected), int(new[corrected].sum()), int(old[corrected].sum()), Paired.from_answers(new, old)
    )


def decide_with_corrections(
    decision: tuple[bool, str], test: Paired, corrections: Corrections | None, rule: Release
) -> tuple[bool, str]:
    """Return the decision on the test photos, changed by the contributions.

    A challenger that is as good on the test photos and better on the contributions is promoted. One that is worse on
    the contributions is not, unless it is better on the test photos: poisoned contributions could cause that.
    """
    promoted, reason = decision
    if corrections is None:
        return decision
    if promoted and corrections.is_worse(rule) and test.p_value > 1 - rule.confidence:
        promoted, reason = False, f"worse on contributed photos; on the test photos: {reason}"
    if not promoted and test.lower_bound(rule.confidence) >= -rule.margin and corrections.is_better(rule):
        promoted, reason = True, f"as good, and better on contributed photos; on the test photos: {reason}"
    return promoted, f"{reason}; {corrections}"
