"""Test the comparison of champion and challenger on held-back contributions."""

import pytest

from export.checks.comparison import Paired
from export.checks.corrections import Corrections, compare_corrections, decide_with_corrections
from export.files import MODEL
from lambda_app.classifier import Classifier
from tests.export.challengers import make_copy, make_wrong, release_file
from tests.support import ROOT
from tests.support.drawing import draw, encode_image
from training import config
from training.config import HELD_BACK
from training.figures import read_figures
from training.harvest.data_set import link_held_back

RULE = config.load(config.Release, ROOT / "params.yaml")
EQUAL = Paired(1000, gained=2, lost=2)


def hold_back(part, label, seeds, drawn=None):
    folder = HELD_BACK / part / label
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (folder / f"{seed}.jpg").write_bytes(encode_image(draw(drawn or label, seed)))


def test_corrected_photos_are_counted_apart(store):
    """The sentence counts corrected photos only; the paired test counts confirmed photos, too."""
    hold_back("corrected", "cat", range(900, 905))
    hold_back("confirmed", "dog", range(900, 902))
    hold_back("corrected", "parrot", range(1), drawn="cat")
    right, wrong = (Classifier.load(path) for path in (MODEL, make_wrong()))
    found = compare_corrections(right, wrong)
    assert (5, 5, 0, 7) == (found.photos, found.challenger, found.champion, found.paired.gained)
    assert "of 5 photos that users corrected, the challenger classifies 5 correctly, the champion 0" == str(found)


def test_no_held_back_photo_compares_nothing(store):
    """Without contributions to the models' classes, the decision and its reason do not change."""
    link_held_back(use=True)
    classifier = Classifier.load(MODEL)
    assert compare_corrections(classifier, classifier) is None
    hold_back("corrected", "parrot", range(1), drawn="cat")
    assert compare_corrections(classifier, classifier) is None
    assert (False, "a tie") == decide_with_corrections((False, "a tie"), EQUAL, None, RULE)


@pytest.mark.parametrize(
    ("test", "gained", "promoted"),
    [
        (EQUAL, 10, True),
        (EQUAL, 2, False),  # too few photos to be evidence
        (Paired(1000, gained=2, lost=20), 10, False),  # worse on the test photos
    ],
)
def test_corrections_decide_only_a_tie(test, gained, promoted):
    """A challenger that is as good on the test photos and better on contributions wins; one that is worse does not."""
    corrections = Corrections(20, 15, 5, Paired(20, gained=gained, lost=0))
    decided, reason = decide_with_corrections((False, "a tie"), test, corrections, RULE)
    assert promoted == decided
    assert reason.endswith("of 20 photos that users corrected, the challenger classifies 15 correctly, the champion 5")


def test_better_model_stays_promoted():
    """Wrong contributions do not block a model that is better on the test photos."""
    corrections = Corrections(20, 5, 15, Paired(20, gained=0, lost=10))
    assert decide_with_corrections((True, "better"), Paired(1000, gained=20, lost=2), corrections, RULE)[0]


def test_model_worse_on_contributions_is_rejected():
    """A model that would win only by its size or its number of photos is rejected if it is worse on contributions."""
    corrections = Corrections(20, 5, 15, Paired(20, gained=0, lost=10))
    promoted, reason = decide_with_corrections((True, "no worse"), EQUAL, corrections, RULE)
    assert (False, True) == (promoted, reason.startswith("worse on contributed photos"))


def test_release_states_corrections(store, capsys):
    """The output and the metrics of the release stage have the counts and the sentence."""
    hold_back("corrected", "cat", range(900, 903))
    release_file(make_wrong())
    _, outcome = release_file(make_copy("challenger"))
    assert {"photos": 3, "challenger": 3, "champion": 0}.items() <= outcome["corrections"].items()
    assert (
        "of 3 photos that users corrected, the challenger classifies 3 correctly, the champion 0"
        in capsys.readouterr().out
    )
    assert read_figures("release")["reason"].endswith("the champion 0")
