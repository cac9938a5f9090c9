"""Test the settings that environment variables change."""

from pathlib import Path

import pytest

from lambda_app.batch.handler import BatchSettings
from lambda_app.settings import Settings, SettingsError


def test_settings_read_variables_in_capitals():
    """Only variables with the name of a setting are read."""
    env = {"MODEL_PATH": "/m.onnx", "MAX_IMAGE_BYTES": "10", "max_image_pixels": "1", "HOME": "/"}
    settings = Settings.from_env(env)
    assert (Path("/m.onnx"), 10) == (settings.model_path, settings.max_image_bytes)
    assert Settings().max_image_pixels == settings.max_image_pixels


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_IMAGE_BYTES", "many"), ("MAX_IMAGE_PIXELS", "-1"), ("LOG_LEVEL", "LOUD")]
)
def test_invalid_value_is_named(name, value):
    """The error names the variable, its value and the expected values."""
    with pytest.raises(SettingsError, match=f"{name} is '{value}': Input should be"):
        Settings.from_env({name: value})


def test_missing_setting_is_named():
    """The error for a setting without a default and without a value names only its variable."""
    with pytest.raises(SettingsError, match=r"^RESULTS_BUCKET is not set; RESULTS_PREFIX is not set$"):
        BatchSettings.from_env({"LOG_LEVEL": "INFO"})
