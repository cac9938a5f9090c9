"""Check that the activation maps of the candidates are those of the trained network."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.checks.evaluation import Pixels
from export.checks.gates import Gate
from lambda_app.classifier import Classifier
from training.networks import Network

MIN_CORRELATION = 0.95  # with PyTorch's, on average; EfficientNet-Lite0 in int8 has 0.998 on 26 photos
Maps = NDArray[np.float32]  # (N, h, w)


@torch.inference_mode()
def compute_maps(network: Network, pixels: Pixels) -> Maps | None:
    """Return the features before the last pooling, weighted for each photo's predicted class, computed by PyTorch.

    Return None if the average of the features is not what the last layer gets.
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
    network: Network, files: Mapping[str, Classifier], released: str, pixels: Pixels, limit: float
) -> list[Gate]:
    """Return gates that compare the maps of fp32 and of the released candidate with PyTorch's.

    A network without maps has only the gate that no candidate has one either.
    """
    expected = compute_maps(network, pixels)
    wrong = [name for name, file in files.items() if file.has_activation_map != (expected is not None)]
    hint = f"fixed: the network has {'no ' if expected is None else ''}activation map, unlike {', '.join(wrong)}"
    gates = [Gate("candidates_unlike_pytorch_in_having_maps", len(wrong), 0, hint)]
    if expected is None or wrong:
        return gates
    difference = np.abs(_run(files["fp32"], pixels) - expected).max() / np.abs(expected).max()
    correlation = mean_correlation(_run(files[released], pixels), expected)
    return [
        *gates,
        Gate("activation_map_difference", float(difference), limit, "verify.max_probability_difference in params.yaml"),
        Gate("activation_map_correlation", correlation, MIN_CORRELATION, "fixed: export/checks", at_least=True),
    ]


def _run(file: Classifier, pixels: Pixels) -> Maps:
    maps = [file.run(photo[None], explain=True).activation_map for photo in pixels]
    return np.concatenate([each for each in maps if each is not None])


def mean_correlation(first: Maps, second: Maps) -> float:
    """Return the correlation of two maps over their positions, averaged over the photos; NaN if a map is constant."""
    pairs = zip(first.reshape(len(first), -1), second.reshape(len(second), -1), strict=True)
    return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs]))
