"""Screen contributions before a person reviews them: duplicates, conflicting labels, and caps against poisoning."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from training import config
from training.harvest.contributed_photo import Candidate, Entry
from training.harvest.contribution_storage import Folder
from training.harvest.decisions import ACCEPT, HOLD, REJECT
from training.split import Row, group_duplicates


def propose(entries: Sequence[Entry], folder: Path, class_names: Sequence[str]) -> list[Candidate]:
    """Return one candidate per photo. Hold photos with several labels, or with a label that is not a class."""
    labels = defaultdict(set)
    for entry in entries:
        labels[entry.sha256].add(entry.label)
    copies, found = Folder(folder), {}
    for entry in entries:
        origin = copies.read_origin(replace(entry, key=entry.path))
        if len(labels[entry.sha256]) > 1:
            decision, reason = HOLD, f"contributed as {' and as '.join(sorted(labels[entry.sha256]))}"
        elif entry.label not in class_names:
            decision, reason = HOLD, f"{entry.label} is none of the classes {', '.join(class_names)}"
        else:
            decision, reason = ACCEPT, ""
        found[entry.sha256] = Candidate(
            entry.sha256, entry.label, origin.prediction, origin.confidence, None, decision, reason, entry.path
        )
    return list(found.values())


def screen_duplicates(
    candidates: Sequence[Candidate], inspected: Mapping[str, Row], known: Iterable[Row], max_bits: int
) -> list[Candidate]:
    """Reject unreadable photos, and exact and near duplicates of known photos and of each other.

    `inspected` has the row of each candidate by hash, and `known` the rows of all training photos, each with a
    perceptual hash. Duplicates with different labels are held.
    """
    tagged_rows = [*(("known", row) for row in known), *(("new", row) for row in inspected.values() if not row.reason)]
    # `group_duplicates` skips rows with a reason, but photos that were set aside are known, too.
    rows = [replace(row, id=f"{kind} {number}", reason="") for number, (kind, row) in enumerate(tagged_rows)]
    groups = defaultdict(list)
    for row in group_duplicates(rows, max_bits):
        groups[row.group].append(row)
    group_of = {row.sha256: members for members in groups.values() for row in members}
    return [
        _judge_group(candidate, inspected[candidate.sha256], group_of.get(candidate.sha256, []))
        for candidate in candidates
    ]


def _judge_group(candidate: Candidate, row: Row, group: Sequence[Row]) -> Candidate:
    """Return the candidate with the decision that its duplicates require."""
    if row.reason:
        return replace(candidate, decision=REJECT, reason=f"unreadable: {row.reason}")
    if known := [member for member in group if member.id.startswith("known")]:
        return replace(candidate, decision=REJECT, reason=f"duplicate of a training photo of {known[0].label}")
    if candidate.decision != ACCEPT:
        return candidate
    if len({member.label for member in group}) > 1:
        return replace(candidate, decision=HOLD, reason="duplicates with different labels")
    if candidate.sha256 != min(member.sha256 for member in group):
        return replace(candidate, decision=REJECT, reason="duplicate of another contribution")
    return candidate


def apply_caps(
    candidates: Sequence[Candidate],
    days: Mapping[str, str],
    accepted: Mapping[str, str],
    reviewed: Container[str],
    limits: config.Harvest,
) -> list[Candidate]:
    """Hold photos that exceed the caps per day and per class, so that a flood of photos cannot dominate training.

    `days` has the day of every photo in the storage, including decided ones. `accepted` has the label of each photo
    that was accepted before. A photo that a reviewer accepts counts toward the caps, but is never held. Photos count in
    the order of their hashes, which contributors cannot control in practice.
    """
    kept = [c for c in candidates if c.decision == ACCEPT and c.sha256 in reviewed]
    accepted = {**accepted, **{candidate.sha256: candidate.label for candidate in kept}}
    per_day = Counter(days[sha256] for sha256 in accepted if sha256 in days)
    per_class = Counter(accepted.values())
    capped = []
    for candidate in sorted(candidates, key=lambda candidate: candidate.sha256):
        if candidate.decision == ACCEPT and candidate.sha256 not in accepted:
            day = days[candidate.sha256]
            if per_day[day] >= limits.per_day:
                candidate = replace(candidate, decision=HOLD, reason=f"over {limits.per_day} photos on {day}")
            elif per_class[candidate.label] >= limits.per_class:
                reason = f"over {limits.per_class} photos of {candidate.label}"
                candidate = replace(candidate, decision=HOLD, reason=reason)
            else:
                per_day[day] += 1
                per_class[candidate.label] += 1
        capped.append(candidate)
    return capped
