"""Networks by name, and pretrained weights from where they should come."""

import numpy as np
import pytest
import torch
from torchvision import models

from training.model import PRETRAINED, Normalise, WeightsError, build, count_parameters, predict

ARCHITECTURES = ("mobilenet_v2", "simple_cnn", "logistic")


@pytest.fixture(scope="module")
def state_dict():
    """MobileNetV2's, in torchvision's layout, with weights that nobody else has."""
    torch.manual_seed(0)
    return models.mobilenet_v2().state_dict()


def photos(count: int, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shape(architecture, classes):
    """uint8 (N, 3, S, S) becomes float32 logits (N, classes)."""
    logits = build(architecture, classes).eval()(photos(3))
    assert (3, classes) == logits.shape
    assert torch.float32 == logits.dtype


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_size(architecture):
    """Training and test size may differ."""
    model = build(architecture, 2).eval()
    assert (1, 2) == model(photos(1, 48)).shape == model(photos(1, 96)).shape


def test_unknown_architecture():
    """A name that is none of the three is an error that lists them."""
    with pytest.raises(ValueError, match=r"'resnet'; expected mobilenet_v2, simple_cnn or logistic"):
        build("resnet", 2)


def test_unknown_architecture_with_weights():
    """Weights do not hide that the architecture does not exist."""
    with pytest.raises(ValueError, match=r"'resnet'; expected mobilenet_v2, simple_cnn or logistic"):
        build("resnet", 2, weights="imagenet")


def test_normalisation():
    """The mean that torchvision's weights expect becomes 0, one standard deviation above it 1, in every channel."""
    published = models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    mean, std = 255 * torch.tensor(published.mean), 255 * torch.tensor(published.std)
    images = torch.stack([mean, mean + std]).view(2, 3, 1, 1)
    expected = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    torch.testing.assert_close(Normalise()(images), expected)


def test_normalisation_is_no_weight():
    """The statistics are part of the network, not of its state: a checkpoint cannot change them."""
    assert not [name for name in build("logistic", 2).state_dict() if "mean" in name or "std" in name]


def test_dropout():
    """The share of the params is what the network drops while it learns."""
    dropouts = [m.p for m in build("mobilenet_v2", 2, dropout=0.35).modules() if isinstance(m, torch.nn.Dropout)]
    assert [0.35] == dropouts


def test_weights_of_a_file(tmp_path, state_dict):
    """A .pth file fills every layer but the last, which has as many outputs as there are classes."""
    torch.save(state_dict, tmp_path / "net.pth")
    network = build("mobilenet_v2", 3, weights=str(tmp_path / "net.pth"))[1].state_dict()
    for name, expected in state_dict.items():
        if not name.startswith("classifier"):
            torch.testing.assert_close(network[name], expected)
    assert (3, 1280) == network["classifier.1.weight"].shape


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_weights_load_strictly(tmp_path, state_dict, change):
    """A file that lacks a layer, or has one too many, is an error naming file and layer."""
    if change == "missing":
        state_dict = {name: value for name, value in state_dict.items() if name != "features.1.conv.0.0.weight"}
    else:
        state_dict = state_dict | {"features.99.weight": torch.zeros(1)}
    torch.save(state_dict, tmp_path / "net.pth")
    with pytest.raises((RuntimeError, WeightsError), match=r"(?s)features\.(1\.conv\.0\.0|99)\.weight"):
        build("mobilenet_v2", 2, weights=str(tmp_path / "net.pth"))


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"hello", b"X"], ids=["empty", "a web page", "text", "a byte"]
)
def test_weights_of_another_kind(tmp_path, content):
    """A file that holds no weights is an error naming it."""
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"net\.pth"):
        build("mobilenet_v2", 2, weights=str(tmp_path / "net.pth"))


def test_no_such_weights():
    """A path where no file is, is an error that says what is possible."""
    with pytest.raises(WeightsError, match=r"'nope\.pth': no such file; expected imagenet, a \.pth file or null"):
        build("mobilenet_v2", 2, weights="nope.pth")


def test_weights_where_there_are_none():
    """Only MobileNetV2 has pretrained weights; asking another network for them is an error."""
    with pytest.raises(ValueError, match=r"'imagenet', but 'simple_cnn' has no pretrained weights; expected null"):
        build("simple_cnn", 2, weights="imagenet")


@pytest.mark.usefixtures("offline")
def test_imagenet_from_the_folder(state_dict, capsys):
    """`imagenet` takes the file under data/raw/weights/, and says so."""
    PRETRAINED.mkdir(parents=True)
    torch.save(state_dict, PRETRAINED / "mobilenet_v2.pth")
    network = build("mobilenet_v2", 2, weights="imagenet")[1]
    torch.testing.assert_close(network.features[0][0].weight.detach(), state_dict["features.0.0.weight"])
    assert capsys.readouterr().out.startswith(f"weights: {PRETRAINED}/mobilenet_v2.pth, SHA-256 ")


@pytest.mark.usefixtures("offline")
def test_imagenet_offline():
    """Without file and network, one line names the address and where to put the file."""
    message = r"^cannot download https://.*\.pth .*; put that file at data/raw/weights/mobilenet_v2\.pth$"
    with pytest.raises(WeightsError, match=message):
        build("mobilenet_v2", 2, weights="imagenet")


def test_predict():
    """Logits and labels of every batch, in order, from a network in evaluation mode."""
    model = build("simple_cnn", 2, dropout=0.5)
    images, labels = photos(5), torch.tensor([0, 1, 1, 0, 1])
    batches = [(images[:2], labels[:2]), (images[2:], labels[2:])]
    logits, theirs = predict(model, batches, torch.device("cpu"))
    expected = model.eval()(images).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert labels.tolist() == theirs.tolist()


def test_count_parameters():
    """A 64 x 64 thumbnail of three channels, for each class, and a bias."""
    assert 2 * (3 * 64 * 64 + 1) == count_parameters(build("logistic", 2))
