"""Check that the activation maps of the candidates match those that PyTorch computes from the trained network."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.checks.evaluation import PixelBatch
from export.checks.gates import Gate
from lambda_app.classifier import Classifier
from training.networks import Network

MIN_CORRELATION = 0.95  # mean over the photos; EfficientNet-Lite0 in int8 has 0.998 on 26 photos
MIN_VARIATION = 1e-6  # of a map, relative to its largest value; what is below is rounding error
Maps = NDArray[np.float32]  # (N, h, w)


@torch.inference_mode()
def compute_maps(network: Network, pixels: PixelBatch) -> Maps | None:
    """Return the features before the last pooling (N, D, h, w), weighted for the predicted class of each photo.

    Return None if the input of the last layer is not the average of these features: the network then has no map.
    """
    pools = [module for module in network.body.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
    if not pools:
        return None
    inputs: list[torch.Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
        for module in (pools[-1], network.head)
    ]
    logits, _ = network(torch.from_numpy(pixels))
    for hook in hooks:
        hook.remove()
    features, averages = inputs  # (N, D, h, w) and (N, D)
    if features.shape[:2] != averages.shape or not torch.allclose(features.mean((2, 3)), averages, atol=1e-4):
        return None
    maps: Maps = torch.einsum("nd,ndhw->nhw", network.head.weight[logits.argmax(1)], features).numpy()
    return maps


def check_maps(
    network: Network, files: Mapping[str, Classifier], selected: str, pixels: PixelBatch, limit: float
) -> list[Gate]:
    """Return gates that compare the maps of fp32 and of the selected candidate with PyTorch's.

    If the network has no map, the only gate is that no candidate has one. If PyTorch's maps of all photos are constant,
    for example because they have one position, there is no gate for the correlation.
    """
    expected = compute_maps(network, pixels)
    wrong = [name for name, file in files.items() if file.has_activation_map != (expected is not None)]
    article = "no" if expected is None else "an"
    hint = f"constant limit: PyTorch's network has {article} activation map, unlike the files {', '.join(wrong)}"
    gates = [Gate("candidates_unlike_pytorch_in_having_maps", len(wrong), 0, hint)]
    if expected is None or wrong:
        return gates
    largest = max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    difference = float(np.abs(run_with_maps(files["fp32"], pixels) - expected).max() / largest)
    gates.append(
        Gate("activation_map_difference", difference, limit, "verify.max_probability_difference in params.yaml")
    )
    correlations = correlate(run_with_maps(files[selected], pixels), expected)
    if correlations:
        hint = f"constant limit: MIN_CORRELATION in export/checks/activation_maps.py, on {len(correlations)} photos"
        mean = float(np.mean(correlations))
        gates.append(Gate("activation_map_correlation", mean, MIN_CORRELATION, hint, at_least=True))
    return gates


def run_with_maps(file: Classifier, pixels: PixelBatch) -> Maps:
    """Return the maps of a file, one photo at a time as in a request."""
    maps = [file.run(photo[None], explain=True).activation_map for photo in pixels]
    return np.concatenate([map_ for map_ in maps if map_ is not None])


def correlate(maps: Maps, expected: Maps) -> list[float]:
    """Return the correlation of each map with the expected one over their positions, where it is defined.

    Photos whose expected map is constant are left out: they have no pattern to reproduce. If only the other map is
    constant, it lost the pattern, so the correlation is 0.
    """
    pairs = zip(maps.reshape(len(maps), -1), expected.reshape(len(expected), -1), strict=True)
    return [
        float(np.corrcoef(map_, pattern)[0, 1]) if varies(map_) else 0.0 for map_, pattern in pairs if varies(pattern)
    ]


def varies(activation_map: NDArray[np.float32]) -> bool:
    """Return whether the values of a map differ by more than rounding errors."""
    return bool(np.ptp(activation_map) > MIN_VARIATION * np.abs(activation_map).max())
