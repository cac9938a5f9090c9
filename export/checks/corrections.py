"""Compare challenger and champion on held-back contributions, which are never used for training.

Most contributions are photos that the champion misclassified, and any other model classifies some of them correctly. A
gain on contributions therefore counts only if the challenger is also as good on the test photos.
"""

from dataclasses import dataclass

from export.checks.comparison import Paired, are_correct
from lambda_app.classifier import Classifier
from training.config import HELD_BACK, Release
from training.harvest.data_set import CORRECTED, read_folder_labels
from training.photo_dataset import Photos, Preprocessor
from training.source import Source


@dataclass(frozen=True)
class Corrections:
    """Counts of the photos that users corrected, and of those that each model classifies correctly."""

    photos: int
    challenger: int  # correct
    champion: int  # correct
    paired: Paired  # of all held-back contributions, including those whose prediction the user confirmed

    def __str__(self) -> str:
        return (
            f"of {self.photos:,} photos that users corrected, the challenger classifies {self.challenger:,} correctly, "
            f"the champion {self.champion:,}"
        )

    def is_better(self, rule: Release) -> bool:
        """Return whether the challenger is right on significantly more contributions, at `rule.confidence`."""
        return self.paired.p_value <= 1 - rule.confidence

    def is_worse(self, rule: Release) -> bool:
        """Return whether the champion is right on significantly more contributions, at `rule.confidence`."""
        paired = self.paired
        return Paired(paired.photos, paired.lost, paired.gained).p_value <= 1 - rule.confidence


def compare_corrections(challenger: Classifier, champion: Classifier) -> Corrections | None:
    """Return the counts, or None if no held-back contribution belongs to a class of the models."""
    names = challenger.metadata.class_names
    labels = {path: label for path, label in read_folder_labels(HELD_BACK).items() if label in names}
    if not labels:
        return None
    new, old = (
        are_correct(model, Photos(Source(HELD_BACK), labels, list(names), Preprocessor(model.metadata.image_size)))
        for model in (challenger, champion)
    )
    corrected = [path.startswith(f"{CORRECTED}/") for path in sorted(labels)]
    return Corrections(
        sum(corrected), int(new[corrected].sum()), int(old[corrected].sum()), Paired.from_answers(new, old)
    )


def decide_with_corrections(
    decision: tuple[bool, str], test: Paired, corrections: Corrections | None, rule: Release
) -> tuple[bool, str]:
    """Return the decision on the test photos, revised by the contributions.

    Promote a challenger that is as good on the test photos and better on the contributions. Do not promote one that is
    worse on the contributions, unless it is better on the test photos: wrong contributions must not block it.
    """
    promoted, reason = decision
    if corrections is None:
        return decision
    if promoted and corrections.is_worse(rule) and test.p_value > 1 - rule.confidence:
        promoted, reason = False, f"worse on contributed photos; on the test photos: {reason}"
    if not promoted and test.lower_bound(rule.confidence) >= -rule.margin and corrections.is_better(rule):
        promoted, reason = True, f"as good, and better on contributed photos; on the test photos: {reason}"
    return promoted, f"{reason}; {corrections}"
