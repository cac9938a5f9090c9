"""Write the peers' model files: `python -m infra.bench.peers.weights FOLDER`. Requires PyTorch.

The networks are not trained on the function's classes, because their speed does not depend on that. Their bodies are
pretrained on ImageNet: activations of random weights may fade to denormal numbers, which are slow to compute.
"""

import argparse
import json
import warnings
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from infra import ROOT
from infra.bench.peers.torch_simple_cnn.network import SimpleCNN
from lambda_app.metadata import Metadata
from training.fetch import link_packaged_weights
from training.model import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.manual_seed(0)
    props = onnxruntime.InferenceSession(ROOT / "lambda_app/model.onnx").get_modelmeta().custom_metadata_map
    metadata = Metadata.from_props(props)
    link_packaged_weights()
    network = build(metadata.architecture, len(metadata.class_names), weights="imagenet").eval()
    images = torch.zeros(2, 3, metadata.image_size, metadata.image_size, dtype=torch.uint8)

    torch.save(SimpleCNN().state_dict(), folder / "torch_simple_cnn.pth")
    with warnings.catch_warnings():  # TorchScript is deprecated; torch_same_model/classifier.py gives the reason for it
        warnings.simplefilter("ignore")
        script = torch.jit.freeze(torch.jit.trace(network, images))
        torch.jit.save(script, folder / "torch_same_model.pt", _extra_files={"metadata.json": json.dumps(props)})
    plain = nn.Sequential(network.body, network.head).eval()
    torch.onnx.export(
        plain,
        (images[:1].float(),),
        folder / "ort_plain.onnx",
        input_names=["images"],
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )


if __name__ == "__main__":
    main()
