"""Define the network that tutorials train from scratch: four convolutions, then two linear layers."""

import torch
from torch import nn


class SimpleCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels_out in ((3, 32), (32, 64), (64, 128), (128, 256)):
            layers += [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        # The weights take 27 MB; other models of this kind take 29 to 299 MB.
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(256 * 14 * 14, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 2)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, 224, 224) float32 -> (N, 2)
        return self.classifier(self.features(images))
