"""Test the comparison of two CPUs, without the emulator."""

import os
import shutil
import sys

import numpy as np
import pytest

from export.experiments import emulation
from export.experiments.emulation import EMULATOR
from export.files import CANDIDATES
from lambda_app.outputs import Outputs
from tests.export.untrained_models import pixels
from training.interruption import UserError


def test_same_cpu_gives_the_same_outputs(candidates, monkeypatch):
    """Two processes on the same CPU agree on every photo, to the bit."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    images = pixels(2, 32)
    first, second = (emulation.run_program([], CANDIDATES / "int8.onnx", images) for _ in range(2))
    assert {
        "photos": 2,
        "other_classes": 0,
        "probability_difference": 0.0,
        "familiarity_difference": 0.0,
    } == emulation.compare(first, second)


def test_differences_are_counted():
    """Another class and the largest differences are reported."""
    native = Outputs(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.7]))
    emulated = Outputs(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([[1.5, 0.0], [1.0, 0.0]]), np.array([0.5, 0.4]))
    figures = emulation.compare(native, emulated)
    assert (2, 1) == (figures["photos"], figures["other_classes"])
    assert pytest.approx(0.2) == figures["probability_difference"]
    assert pytest.approx(0.3) == figures["familiarity_difference"]


def test_missing_emulator_is_named(monkeypatch):
    """Without the emulator, the error names the package that has it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["emulation", "model.onnx"])
    with pytest.raises(UserError, match=f"{EMULATOR} is missing; install Debian's package qemu-user"):
        emulation.main()


def test_cpu_without_vnni_is_refused(monkeypatch, tmp_path):
    """On a CPU without VNNI, both runs would use the same instructions, so the command measures nothing."""
    monkeypatch.setattr(shutil, "which", lambda _: "qemu")
    monkeypatch.setattr(sys, "argv", ["emulation", "model.onnx"])
    monkeypatch.setattr(emulation, "CPUINFO", tmp_path / "cpuinfo")
    emulation.CPUINFO.write_text("flags : sse4_2 avx avx2\n")
    with pytest.raises(UserError, match="this CPU has no VNNI"):
        emulation.main()
