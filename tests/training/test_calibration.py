"""Test calibration: the temperature, familiarity and the threshold of `unknown`."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from training.calibration import Calibration, familiarity, fit, fit_class_familiarity, fit_temperature, fit_threshold
from training.predictions import Predictions

CAT, CAR, CUP = 50 * np.eye(3, dtype=np.float32)  # frozen logits, all certain
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def predictions_of(logits=None, frozen_logits=None) -> Predictions:
    """Return predictions with the given logits, and zeros for the others."""
    count = len(logits if logits is not None else frozen_logits)
    logits = np.zeros((count, 2), np.float32) if logits is None else np.asarray(logits, np.float32)
    frozen_logits = np.zeros((count, 0), np.float32) if frozen_logits is None else np.asarray(frozen_logits, np.float32)
    return Predictions(logits, frozen_logits, np.zeros(count, np.int64))


def draw_logits(count, classes=2, seed=0):
    return np.random.default_rng(seed).normal(0, 3, (count, classes)).astype(np.float32)


# --- temperature


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_temperature_recovers_the_temperature(temperature, classes):
    """For labels drawn from softmax(logits / T) the fitted temperature is T, within 5 %."""
    logits = draw_logits(20_000, classes)
    uniform = np.random.default_rng(1).random((len(logits), 1))
    labels = (softmax(logits / temperature, axis=1).cumsum(1) < uniform).sum(1)
    assert temperature == pytest.approx(fit_temperature(logits, labels), rel=0.05)


def test_fit_temperature_of_few_correct_photos_is_not_certain():
    """For 20 photos that are all classified correctly, confidence stays below 0.99."""
    logits = np.array([[2.0, -2.0], [-2.0, 2.0]] * 10)
    temperature = fit_temperature(logits, np.array([0, 1] * 10))
    assert softmax(logits / temperature, axis=1).max() < 0.99


def test_probabilities_divide_logits_by_temperature():
    """Logits of 2 log 3 and 0 at a temperature of 2 give 75 % and 25 %."""
    predictions = predictions_of(logits=[[2 * np.log(3), 0.0]])
    np.testing.assert_allclose(Calibration(2.0, (), 0.0).probabilities(predictions), [[0.75, 0.25]], rtol=1e-6)


# --- familiarity with a frozen head


def test_fit_class_familiarity_follows_bayes_rule():
    """For three cats and one car, K = 3 classes have q / (q + 1/K) of 3/4, 1/4 and 0."""
    assert (9 / 13, 3 / 7, 0.0) == pytest.approx(fit_class_familiarity(np.stack([CAT, CAT, CAT, CAR])))


def test_familiarity_averages_the_classes():
    """A photo that is half cat, half cup has the mean familiarity of both."""
    half = np.log(np.array([0.5, 1e-30, 0.5], np.float32))
    known = familiarity(predictions_of(frozen_logits=[CAT, CUP, half]), (0.8, 0.5, 0.2))
    np.testing.assert_allclose(known, [0.8, 0.2, 0.5], rtol=1e-6)


def test_familiarity_of_uniform_photos_is_one_half():
    """If training photos resemble all classes of the pretraining alike, every familiarity is one half."""
    class_familiarity = fit_class_familiarity(np.stack([CAT, CAR, CUP]))
    np.testing.assert_allclose(
        familiarity(predictions_of(frozen_logits=[CAT, CAR, CUP]), class_familiarity), 0.5, rtol=1e-6
    )


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_familiarity_is_a_probability(photos, frozen_classes, seed):
    """Familiarity has one value in [0, 1] for each class of the frozen head, and one for each photo."""
    rng = np.random.default_rng(seed)
    train, test = (rng.normal(0, 10, (photos, frozen_classes)).astype(np.float32) for _ in range(2))
    class_familiarity = fit_class_familiarity(train)
    known = familiarity(predictions_of(frozen_logits=test), class_familiarity)
    assert (frozen_classes, (photos,)) == (len(class_familiarity), known.shape)
    assert all(0 <= value <= 1 for value in (*class_familiarity, *known))


@given(st.integers(1, 20), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_fit_class_familiarity_orders_classes_by_frequency(photos, frozen_classes, seed):
    """The classes that training photos resemble more often are more familiar."""
    frozen_logits = np.random.default_rng(seed).normal(0, 3, (photos, frozen_classes)).astype(np.float32)
    often = softmax(frozen_logits.astype(np.float64), axis=1).mean(axis=0)
    assert np.argsort(often).tolist() == np.argsort(fit_class_familiarity(frozen_logits)).tolist()


# --- familiarity without a frozen head


def test_familiarity_without_frozen_head_is_logsumexp():
    """Without a frozen head, familiarity is the log-sum-exp of the logits: log 4 for log 3 and 0."""
    np.testing.assert_allclose(familiarity(predictions_of(logits=[[np.log(3), 0.0]]), ()), [np.log(4)], rtol=1e-6)


# --- unknown


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_threshold_keeps_its_confidence(rate):
    """The share of future photos called unknown exceeds the rate in about 5 % of 2,000 samples."""
    draws = np.random.default_rng(0).random((2000, 1000))  # uniform, so that the threshold is the share below it
    too_many = np.mean([fit_threshold(values, rate) > rate for values in draws])
    assert 0.02 < too_many < 0.06  # the threshold is one of the values, so the rate is below 5 %


@given(st.integers(1, 298), st.integers(0, 2**32 - 1))
def test_threshold_of_few_photos_is_the_lowest_value(photos, seed):
    """With fewer than 299 photos for a rate of 1 %, the threshold is the lowest value and a message is printed."""
    values = np.random.default_rng(seed).normal(size=photos)
    with redirect_stdout(StringIO()) as output:
        assert values.min() == fit_threshold(values, 0.01)
    assert f"evaluate.unknown_rate is 0.01, but {photos} validation photos guarantee only 0." in output.getvalue()


def test_threshold_warns_below_the_needed_number_of_photos(capsys):
    """59 photos suffice for 5 %, since 0.95 ** 59 is 4.8 %, and 299 for 1 %; 58 photos print a message."""
    fit_threshold(np.arange(59.0), 0.05)
    fit_threshold(np.arange(299.0), 0.01)
    assert "" == capsys.readouterr().out
    fit_threshold(np.arange(58.0), 0.05)
    assert "58 validation photos guarantee only 0.05" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["logits", "frozen_logits"])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.5])
def test_fit_keeps_the_unknown_rate(kind, rate):
    """Slightly fewer validation photos than the rate are called unknown, and none at a rate of 0."""
    val = predictions_of(**{kind: draw_logits(1000, 7)})
    fitted = fit(predictions_of(**{kind: draw_logits(200, 7, seed=1)}), val, rate)
    share = fitted.is_unknown(val).mean()
    assert rate - 2.5 * (rate * (1 - rate) / 1000) ** 0.5 <= share <= rate


def test_fit_uses_each_split_for_its_part():
    """Familiar classes come from training photos; temperature and threshold from validation photos."""
    train = Predictions(draw_logits(50), draw_logits(50, 7), np.zeros(50, np.int64))
    val = Predictions(draw_logits(60, seed=1), draw_logits(60, 7, seed=1), np.arange(60) % 2)
    fitted = fit(train, val, 0.1)
    assert fit_class_familiarity(train.frozen_logits) == fitted.familiar
    assert fit_temperature(val.logits, val.labels) == fitted.temperature
    assert fit_threshold(familiarity(val, fitted.familiar), 0.1) == fitted.unknown_threshold


def test_class_outside_the_training_photos_is_unknown():
    """After training on cats and cars, a cup is unknown and a cat is not."""
    known = predictions_of(frozen_logits=np.stack([CAT, CAR] * 50))
    fitted = fit(known, known, 0.01)
    assert [False, True] == fitted.is_unknown(predictions_of(frozen_logits=[CAT, CUP])).tolist()


# --- the file


@given(FINITE, st.lists(FINITE, max_size=5), FINITE)
def test_calibration_round_trips(tmp_path_factory, temperature, familiar, threshold):
    """A calibration that is written and read again is equal, to the last bit."""
    path = tmp_path_factory.getbasetemp() / "calibration.json"
    calibration = Calibration(temperature, tuple(familiar), threshold)
    calibration.write(path)
    assert calibration == Calibration.read(path)
