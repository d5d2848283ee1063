"""Fixed high-pass filters before the network: what is left of an image when its content is predicted away.

Three filters of the spatial rich model, as in the noise stream of Zhou et al.: sensor noise, resampling and JPEG
history live in such residuals, and letters mostly do not.

References
----------
Fridrich and Kodovsky, Rich Models for Steganalysis of Digital Images, IEEE TIFS 2012,
https://doi.org/10.1109/TIFS.2012.2190402 Zhou, Han, Morariu and Davis, Learning Rich Features for Image Manipulation
Detection, CVPR 2018, https://arxiv.org/abs/1805.04953
"""

from __future__ import annotations

import torch
from torch import nn

_SECOND_ORDER = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
_SQUARE_3 = [[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]]
_SQUARE_5 = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]

CLIP, SCALE = 8.0, 3.0
"""Grey levels at which a residual is cut, and that count as 1: noise is about 3, an edge of a letter 50 and more."""


class Residual(nn.Module):  # type: ignore[misc]  # torch's types are not followed
    """(N, 3, H, W) grey levels 0-255 -> three clipped residuals of luminance, (N, 3, H, W), about [-2.7, 2.7]."""

    filters: torch.Tensor
    luminance: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        kernels = torch.tensor([_SECOND_ORDER, _SQUARE_3, _SQUARE_5], dtype=torch.float32)
        kernels = kernels / torch.tensor([2.0, 4.0, 12.0])[:, None, None]
        self.register_buffer("filters", kernels[:, None])  # (3, 1, 5, 5)
        self.register_buffer("luminance", torch.tensor([0.299, 0.587, 0.114])[None, :, None, None])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return residuals."""
        grey = (image * self.luminance).sum(1, keepdim=True)  # (N, 1, H, W)
        residual = nn.functional.conv2d(grey, self.filters, padding=2)  # (N, 3, H, W)
        return torch.clamp(residual, -CLIP, CLIP) / SCALE
