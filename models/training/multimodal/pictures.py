"""Encoders of the picture: (N, 3, 256, 256) grey levels, 0 to 255 -> (N, 256, width), a token for each 16 x 16 pixels.

`mobilevit` is the one that is shipped: 0.3 million parameters. `swin-tiny` has 27.5 million, and wants weights to start
from and a GPU; it brings torchvision, the extra `swin`.
"""

from __future__ import annotations

import torch
from torch import nn

from models.training.vision.blocks import InvertedResidual, MobileViTBlock, convolution

MOBILEVIT, SWIN_TINY = "mobilevit", "swin-tiny"
PICTURE_ENCODERS = (MOBILEVIT, SWIN_TINY)
TOKENS = 256

_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision's weights expect it


class PictureEncoderError(ValueError):
    """An encoder that cannot be made; the message says what to do."""


def picture_encoder(name: str, width: int, heads: int, weights: str = "") -> nn.Module:
    """Make an encoder.

    Parameters
    ----------
    name
        One of `PICTURE_ENCODERS`.
    width
        Of a token.
    heads
        Of the attention of `mobilevit`.
    weights
        File to start `swin-tiny` from: a state of torchvision's `swin_t`, whose last layer, for classes, is left.

    Raises
    ------
    PictureEncoderError
        If there is no encoder of that name, if torchvision is missing, or if the weights are of another network.
    """
    if name == SWIN_TINY:
        return SwinTinyEncoder(width, weights)
    if name != MOBILEVIT:
        raise PictureEncoderError(f"no picture encoder is called {name!r}: choose {' or '.join(PICTURE_ENCODERS)}")
    if weights:
        raise PictureEncoderError(f"{MOBILEVIT} is trained from nothing: leave the weights out, or choose {SWIN_TINY}")
    return PictureEncoder(width, heads)


class PictureEncoder(nn.Module):  # type: ignore[misc]
    """Convolutions and one MobileViT block, with learned positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(3, 32, 7, 4),  # 64
            InvertedResidual(32, 64, 2, 2),  # 32
            InvertedResidual(64, 64, 2, 2),  # 16
            MobileViTBlock(64, width, 1, heads),
        )
        self.project = nn.Conv2d(64, width, 1)
        self.position = nn.Parameter(torch.randn(TOKENS, width) * 0.02)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Encode pictures."""
        maps = self.project(self.layers(picture / 127.5 - 1.0))  # (N, width, 16, 16)
        return maps.flatten(2).transpose(1, 2) + self.position  # (N, 256, width)


class SwinTinyEncoder(nn.Module):  # type: ignore[misc]
    """Swin-Tiny: its 16 x 16 tokens of 384 numbers, joined by its 8 x 8 of 768, each for four of them.

    References
    ----------
    Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, ICCV 2021,
    https://arxiv.org/abs/2103.14030; the network is torchvision's.
    """

    def __init__(self, width: int, weights: str = "") -> None:
        super().__init__()
        try:
            from torchvision.models import swin_t
        except ImportError as error:
            raise PictureEncoderError("swin-tiny needs torchvision: pip install 'weir[swin]'") from error
        network = swin_t(weights=None)
        if weights:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            try:
                network.load_state_dict(state)
            except RuntimeError as error:
                raise PictureEncoderError(
                    f"{weights} does not hold a state of torchvision's swin_t: {error}"
                ) from error
        self.middle = network.features[:6]  # (N, 16, 16, 384)
        self.last = network.features[6:]  # (N, 8, 8, 768)
        self.norm = network.norm
        self.from_middle = nn.Linear(384, width)
        self.from_last = nn.Linear(768, width)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None] * 255, persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD)[:, None, None] * 255, persistent=False)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Encode pictures."""
        middle = self.middle((picture - self.mean) / self.spread)
        last = self.from_last(self.norm(self.last(middle))).permute(0, 3, 1, 2)  # (N, width, 8, 8)
        wide = nn.functional.interpolate(last, scale_factor=2.0, mode="nearest")
        return self.from_middle(middle).flatten(1, 2) + wide.flatten(2).transpose(1, 2)  # (N, 256, width)
