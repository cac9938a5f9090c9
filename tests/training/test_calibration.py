"""What is fitted after training: a temperature that makes confidence a share, and when to say unknown."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from training.calibration import Calibration, familiarity, fit, fit_familiar, fit_temperature, fit_threshold
from training.model import Scored

CAT, CAR, CUP = 50 * np.eye(3, dtype=np.float32)  # recalled for certain
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def scored(logits=None, recalled=None) -> Scored:
    """Of photos of which only the one is of interest, or the other."""
    count = len(logits if logits is not None else recalled)
    logits = np.zeros((count, 2), np.float32) if logits is None else np.asarray(logits, np.float32)
    recalled = np.zeros((count, 0), np.float32) if recalled is None else np.asarray(recalled, np.float32)
    return Scored(logits, recalled, np.zeros(count, np.int64))


def drawn(count, classes=2, seed=0):
    return np.random.default_rng(seed).normal(0, 3, (count, classes)).astype(np.float32)


# --- temperature


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_recovered(temperature, classes):
    """Labels drawn from softmax(logits / T) give T back, within 5 %."""
    logits = drawn(20_000, classes)
    uniform = np.random.default_rng(1).random((len(logits), 1))
    labels = (softmax(logits / temperature, axis=1).cumsum(1) < uniform).sum(1)
    assert temperature == pytest.approx(fit_temperature(logits, labels), rel=0.05)


def test_temperature_of_perfect_logits():
    """A few photos, all classified rightly, are no proof of certainty: confidence stays below 0.99."""
    logits = np.array([[2.0, -2.0], [-2.0, 2.0]] * 10)
    temperature = fit_temperature(logits, np.array([0, 1] * 10))
    assert softmax(logits / temperature, axis=1).max() < 0.99


def test_probabilities():
    """Logits divided by the temperature, through softmax: 2 log 3 at a temperature of 2 is three to one."""
    answers = scored(logits=[[2 * np.log(3), 0.0]])
    np.testing.assert_allclose(Calibration(2.0, (), 0.0).probabilities(answers), [[0.75, 0.25]], rtol=1e-6)


# --- familiarity from a memory


def test_familiar_by_hand():
    """Of four photos three look like a cat, one like a car: q / (q + 1/K) of 3/4, 1/4 and 0 with K = 3."""
    assert (9 / 13, 3 / 7, 0.0) == pytest.approx(fit_familiar(np.stack([CAT, CAT, CAT, CAR])))


def test_familiarity_by_hand():
    """What looks half like a cat, half like a cup, is as familiar as the two on average."""
    half = np.log(np.array([0.5, 1e-30, 0.5], np.float32))
    known = familiarity(scored(recalled=[CAT, CUP, half]), (0.8, 0.5, 0.2))
    np.testing.assert_allclose(known, [0.8, 0.2, 0.5], rtol=1e-6)


def test_familiarity_of_nothing_in_particular():
    """Photos that look like the pretraining's own, class by class, are ours with a probability of one half."""
    familiar = fit_familiar(np.stack([CAT, CAR, CUP]))
    np.testing.assert_allclose(familiarity(scored(recalled=[CAT, CAR, CUP]), familiar), 0.5, rtol=1e-6)


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_familiarity_is_a_probability(photos, remembered, seed):
    """One number for each remembered class, and one for each photo, all in [0, 1]."""
    rng = np.random.default_rng(seed)
    ours, theirs = (rng.normal(0, 10, (photos, remembered)).astype(np.float32) for _ in range(2))
    familiar = fit_familiar(ours)
    known = familiarity(scored(recalled=theirs), familiar)
    assert (remembered, (photos,)) == (len(familiar), known.shape)
    assert all(0 <= value <= 1 for value in (*familiar, *known))


@given(st.integers(1, 20), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_more_seen_is_more_familiar(photos, remembered, seed):
    """The classes that our photos look like more often are the more familiar ones."""
    recalled = np.random.default_rng(seed).normal(0, 3, (photos, remembered)).astype(np.float32)
    often = softmax(recalled.astype(np.float64), axis=1).mean(axis=0)
    assert np.argsort(often).tolist() == np.argsort(fit_familiar(recalled)).tolist()


# --- familiarity without one


def test_nothing_remembered():
    """Without a memory nothing is familiar by it."""
    assert () == fit_familiar(np.zeros((5, 0), np.float32))


def test_familiarity_without_a_memory():
    """It is the log-sum-exp of the logits, whatever the temperature is: of log 3 and 0, log 4."""
    np.testing.assert_allclose(familiarity(scored(logits=[[np.log(3), 0.0]]), ()), [np.log(4)], rtol=1e-6)


# --- unknown


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_threshold(rate):
    """Of photos to come more than the rate are called unknown in one case of twenty: measured on 2,000 thresholds."""
    draws = np.random.default_rng(0).random((2000, 1000))  # of a uniform familiarity, the threshold is the share below
    too_many = np.mean([fit_threshold(values, rate) > rate for values in draws])
    assert 0.02 < too_many < 0.06  # of few photos the limit is a step, below one in twenty


@given(st.integers(1, 298), st.integers(0, 2**32 - 1))
def test_threshold_of_few_photos(photos, seed):
    """Too few photos to promise 1 %: none of them is called unknown, and what they promise is said."""
    values = np.random.default_rng(seed).normal(size=photos)
    with redirect_stdout(StringIO()) as said:
        assert values.min() == fit_threshold(values, 0.01)
    assert f"evaluate.unknown_rate is 0.01; {photos} validation photos promise 0." in said.getvalue()


def test_promise(capsys):
    """Of 59 photos the lowest promises 5 %: below it lie 5 % or more of all with a probability of 0.95 ** 59, 4.8 %."""
    fit_threshold(np.arange(59.0), 0.05)
    fit_threshold(np.arange(299.0), 0.01)
    assert "" == capsys.readouterr().out
    fit_threshold(np.arange(58.0), 0.05)
    assert "58 validation photos promise 0.05" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["logits", "recalled"])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.5])
def test_unknown_rate(kind, rate):
    """Of the validation photos, somewhat fewer than the rate are called unknown; of a rate of none, none."""
    val = scored(**{kind: drawn(1000, 7)})
    fitted = fit(scored(**{kind: drawn(200, 7, seed=1)}), val, rate)
    share = fitted.unknown(val).mean()
    assert rate - 2.5 * (rate * (1 - rate) / 1000) ** 0.5 <= share <= rate


def test_each_split_has_its_part():
    """What is familiar comes from training photos; temperature and threshold from the validation photos."""
    train = Scored(drawn(50), drawn(50, 7), np.zeros(50, np.int64))
    val = Scored(drawn(60, seed=1), drawn(60, 7, seed=1), np.arange(60) % 2)
    fitted = fit(train, val, 0.1)
    assert fit_familiar(train.recalled) == fitted.familiar
    assert fit_temperature(val.logits, val.labels) == fitted.temperature
    assert fit_threshold(familiarity(val, fitted.familiar), 0.1) == fitted.unknown_threshold


def test_the_strange_is_unknown():
    """After cats and cars, a cup is unknown, though no cup was ever shown; a cat is not."""
    ours = scored(recalled=np.stack([CAT, CAR] * 50))
    fitted = fit(ours, ours, 0.01)
    assert [False, True] == fitted.unknown(scored(recalled=[CAT, CUP])).tolist()


# --- the file


@given(FINITE, st.lists(FINITE, max_size=5), FINITE)
def test_round_trip(tmp_path_factory, temperature, familiar, threshold):
    """What is written is read back, to the bit."""
    path = tmp_path_factory.getbasetemp() / "calibration.json"
    calibration = Calibration(temperature, tuple(familiar), threshold)
    calibration.write(path)
    assert calibration == Calibration.read(path)
