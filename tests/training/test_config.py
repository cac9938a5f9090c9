"""Test that errors in params.yaml name the file, section, key and value."""

import pytest

from tests.support import ROOT
from tests.training.workspace import write_params
from training import config


@pytest.mark.parametrize(
    ("key", "value", "expectation"),
    [
        ("epoch", 6, "Unexpected keyword argument"),
        ("architecture", "resnet", "'resnet18', 'simple_cnn', 'improved_cnn' or 'logistic'"),
        ("epochs", "six", "valid integer"),
        ("epochs", 0, "greater than 0"),
        ("epochs", 1.5, "valid integer"),
        ("lr", float("nan"), "greater than 0"),
        ("bf16", "maybe", "valid boolean"),
        ("label_smoothing", 1.5, "less than or equal to 1"),
        ("dropout", -0.1, "greater than or equal to 0"),
        ("distillation_weight", -1, "greater than or equal to 0"),
        ("freeze_batch_norm", "sometimes", "valid boolean"),
        ("workers", -1, "greater than or equal to 0"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**32, "less than 2147483648"),
    ],
)
def test_invalid_value_is_an_error(tmp_path, key, value, expectation):
    """An unknown key or an invalid value is an error that names file, section, key and value."""
    path = write_params(tmp_path, **{f"train__{key}": value})
    with pytest.raises(config.ConfigError) as error:
        config.load(config.Train, path)
    assert str(error.value).startswith(f"{path}, section 'train': {key}: ")
    assert expectation in str(error.value)
    assert str(error.value).endswith(f"(got {value!r})")


@pytest.mark.parametrize(
    ("crop_scale", "problem"),
    [
        ([0.5, 3], r"crop_scale\.1: .* less than or equal to 1 \(got 3\)"),
        ([0, 1], r"crop_scale\.0: .* \(got 0\)"),
        ([0.9, 0.1], "crop_scale: .*the first bound is above the second"),
    ],
)
def test_error_names_the_position_in_a_list(tmp_path, crop_scale, problem):
    """For an invalid list the error names the position."""
    path = write_params(tmp_path, augment__crop_scale=crop_scale)
    with pytest.raises(config.ConfigError, match=f"section 'augment': {problem}"):
        config.load(config.Augment, path)


def test_error_lists_every_problem(tmp_path):
    """Two invalid values are reported in one message."""
    path = write_params(tmp_path, train__epochs="six", train__patience=-1)
    with pytest.raises(config.ConfigError, match=r"epochs: .*; patience: "):
        config.load(config.Train, path)


@pytest.mark.parametrize(("old", "new"), config.RENAMED.items())
def test_renamed_key_is_an_error_with_the_new_name(tmp_path, old, new):
    """A key of an earlier version is an error that names the current key."""
    section = getattr(config, old.split(".")[0].title())
    path = write_params(tmp_path, **{old.replace(".", "__"): 1})
    with pytest.raises(config.ConfigError) as error:
        config.load(section, path)
    key, new_key = (name.split(".")[1] for name in (old, new))
    assert f"{key}: was renamed; write {new_key} instead (got 1)" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("export: {}", "section 'export': opset: "), ("train: {}", r"params\.yaml, section 'export': export: ")],
)
def test_missing_key_or_section_is_an_error(tmp_path, text, message):
    """Keys have no default values, and the error names the missing key or section."""
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=message):
        config.load(config.Export, path)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "export: {opset: 20\n"], ids=["empty", "a list", "not YAML"])
def test_file_without_sections_is_an_error(tmp_path, text):
    """For a file that has no sections, the error names the file."""
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=r"params\.yaml"):
        config.load(config.Export, path)


def test_section_is_frozen(tmp_path):
    """A section cannot be changed."""
    params = config.load(config.Export, write_params(tmp_path))
    with pytest.raises(AttributeError):
        params.opset = 11


def test_flatten_joins_section_and_key():
    """Sections are logged as `section.key`."""
    tracking, export = config.Tracking(experiment="pets"), config.Export(opset=20)
    assert {"tracking.experiment": "pets", "export.opset": 20} == config.flatten(tracking, export)


def test_check_accepts_params_yaml():
    """This repository's params.yaml has no problem in any section."""
    config.check_sections(ROOT / "params.yaml")


def test_check_lists_problems_of_all_sections(tmp_path):
    """A typo in one section and an invalid value in another are reported together, with the key that was meant."""
    path = write_params(tmp_path, train__epoch=6, release__margin=2)
    with pytest.raises(config.ConfigError) as error:
        config.check_sections(path)
    [first, second] = str(error.value).splitlines()
    assert "section 'train': epoch: Unexpected keyword argument; did you mean 'epochs'? (got 6)" in first
    assert "section 'release': margin: " in second


def test_check_rejects_an_unknown_section(tmp_path):
    """A section that no stage reads is an error that suggests the one that was meant."""
    path = write_params(tmp_path)
    path.write_text(path.read_text() + "verfy: {}\n")
    with pytest.raises(config.ConfigError, match="section 'verfy': unknown section; did you mean 'verify'"):
        config.check_sections(path)


@pytest.mark.parametrize(
    ("architecture", "weights", "problem"),
    [("simple_cnn", "imagenet", "has no pretrained weights; expected null"), ("resnet18", "no.pth", "no such file")],
)
def test_check_compares_weights_with_the_network(tmp_path, architecture, weights, problem):
    """Weights that do not exist, or that the network cannot use, are found before the training starts."""
    path = write_params(tmp_path, train__architecture=architecture, train__weights=weights)
    with pytest.raises(config.ConfigError, match=problem):
        config.check_sections(path)
