"""Test that rounded weights compensate the errors of each other, within the bound for CPUs without VNNI."""

import numpy as np

from export.compensate import INT8_MAX, PAIR_MAX, round_rows


def draw_layer(rows=16, size=24, samples=200):
    """Return weights (1, R, I), correlated inputs (P, I) whose mean is not zero, and the step size of each row (R,)."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(size, size))
    inputs = (random.normal(size=(samples, size)) @ mixing + 2).astype(np.float32)
    weights = random.normal(size=(1, rows, size)).astype(np.float32)
    return weights, inputs, np.abs(weights[0]).max(axis=1) / 31  # coarse, so that rounding matters


def second_moments(inputs):
    """Return the second moments (1, I + 1, I + 1) of inputs (P, I) and the constant 1."""
    extended = np.concatenate([inputs, np.ones_like(inputs[:, :1])], axis=1)
    return (extended.T @ extended)[None]


def test_compensation_reduces_the_error():
    """The squared error of the outputs is less than half of the error that rounding to the nearest steps causes."""
    weights, inputs, scales = draw_layer()
    steps, shift = round_rows(weights, second_moments(inputs), scales, paired=False)
    expected = inputs @ weights[0].T
    nearest = inputs @ (np.rint(weights[0] / scales[:, None]) * scales[:, None]).T
    compensated = inputs @ (steps[0] * scales[:, None]).T + shift
    assert ((compensated - expected) ** 2).mean() < ((nearest - expected) ** 2).mean() / 2


def test_bias_removes_the_mean_error():
    """The mean of the outputs equals that of the float layer."""
    weights, inputs, scales = draw_layer()
    steps, shift = round_rows(weights, second_moments(inputs), scales, paired=False)
    errors = inputs @ (steps[0] * scales[:, None] - weights[0]).T + shift
    np.testing.assert_allclose(errors.mean(axis=0), 0, atol=1e-3)


def test_sums_of_neighbors_stay_in_bounds():
    """Two neighboring weights of the same sign sum to at most 128 steps, even if the float weights exceed that."""
    weights, inputs, _ = draw_layer()
    scales = np.abs(weights[0]).max(axis=1) / INT8_MAX
    steps, _ = round_rows(np.abs(weights), second_moments(inputs), scales, paired=True)
    assert steps.reshape(1, 16, -1, 2).astype(int).clip(min=0).sum(axis=3).max() <= PAIR_MAX
    assert np.abs(np.rint(weights[0] / scales[:, None])).reshape(16, -1, 2).sum(axis=2).max() > PAIR_MAX


def test_depthwise_kernels_are_rounded_by_channel():
    """Each channel of a depthwise layer is rounded with its own second moments."""
    random = np.random.default_rng(1)
    weights = random.normal(size=(3, 1, 9)).astype(np.float32)
    moments = np.concatenate([second_moments(random.normal(size=(50, 9)).astype(np.float32)) for _ in range(3)])
    together, _ = round_rows(weights, moments, np.full(3, 0.1, np.float32), paired=False)
    alone = [round_rows(weights[i : i + 1], moments[i : i + 1], np.full(1, 0.1), paired=False)[0] for i in range(3)]
    assert np.concatenate(alone).tolist() == together.tolist()
