"""Select the test photos that neither model learned in training or validation: others would favor the champion.

The challenger did not learn the test photos of the manifest. The champion may have: photos move between the
splits if DATA, SPLIT, `prepare.train_share` or the number of photos of a small class changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from export.learned_photos import DIGITS, LearnedPhotos
from training.manifest import read_all_rows, read_manifest
from training.split import Row

ENOUGH = 30  # test photos; if some were excluded, a tie on fewer than this does not count as evidence


@dataclass(frozen=True)
class UnseenPhotos:
    """The manifest without the test photos that the champion has learned."""

    rows: Sequence[Row]  # of all splits
    compared: int  # test photos among them
    excluded: int | None  # test photos that the champion learned; None if its training photos are not known

    @property
    def are_few(self) -> bool:
        return bool(self.excluded) and self.compared < ENOUGH

    def describe(self) -> str:
        """Return a remark to follow the figures of the comparison; empty if all test photos are known to be new."""
        if self.excluded is None:
            return "; it is not known on which photos the champion was trained, so test photos may be among them"
        if not self.excluded:
            return ""
        few = f"; fewer than {ENOUGH} remain, so a tie does not count" if self.are_few else ""
        return f"; {self.excluded:,} other test photos were left out, because the champion learned them{few}"


def select_unseen(champion: LearnedPhotos | None) -> UnseenPhotos:
    """Return the rows without the test photos that the champion learned, or of which it learned a near duplicate."""
    rows = read_manifest()
    test_photos = sum(row.split == "test" for row in rows)
    if champion is None:
        return UnseenPhotos(rows, test_photos, None)
    learned = {*champion.train, *champion.val}
    groups = {row.group for row in read_all_rows() if row.sha256[:DIGITS] in learned}  # also of files set aside
    unseen = [row for row in rows if row.split != "test" or row.group not in groups]
    excluded = len(rows) - len(unseen)
    return UnseenPhotos(unseen, test_photos - excluded, excluded)
