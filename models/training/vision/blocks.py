"""Building blocks of MobileViT: inverted residuals, and convolutions with a transformer between.

References
----------
Sandler et al., MobileNetV2, CVPR 2018, https://arxiv.org/abs/1801.04381
Mehta and Rastegari, MobileViT, ICLR 2022, https://arxiv.org/abs/2110.02178
"""

from __future__ import annotations

import torch
from torch import nn


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, hard swish (piecewise, so that it costs little and quantises well)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.Hardswish(),
    )


class InvertedResidual(nn.Module):  # type: ignore[misc]
    """Widen, filter each channel, narrow; (N, C, H, W) -> (N, C', H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            convolution(inputs, hidden, 1),
            convolution(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        return x + self.layers(x) if self.is_residual else self.layers(x)


class TransformerLayer(nn.Module):  # type: ignore[misc]
    """Pre-norm self-attention and a two-layer perceptron; (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, heads: int, expansion: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, expansion * width), nn.Hardswish(), nn.Linear(expansion * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer."""
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, T, D / heads)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm_mlp(x))


class MobileViTBlock(nn.Module):  # type: ignore[misc]
    """Local convolution, attention between far pixels, fusion; shape kept, (N, C, H, W) with even H and W.

    Pixels at the same place of every 2 x 2 patch attend to each other, as in the paper.
    """

    def __init__(self, channels: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.local = nn.Sequential(convolution(channels, channels, 3, groups=channels), nn.Conv2d(channels, width, 1))
        self.layers = nn.Sequential(*(TransformerLayer(width, heads) for _ in range(layers)), nn.LayerNorm(width))
        self.back = convolution(width, channels, 1)
        self.fuse = convolution(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        local = self.local(x)
        n, d, h, w = local.shape
        tokens = local.reshape(n, d, h // 2, 2, w // 2, 2).permute(0, 3, 5, 2, 4, 1)  # (N, 2, 2, H/2, W/2, D)
        tokens = self.layers(tokens.reshape(n * 4, (h // 2) * (w // 2), d))  # (4N, HW/4, D)
        tokens = tokens.reshape(n, 2, 2, h // 2, w // 2, d).permute(0, 5, 3, 1, 4, 2)  # (N, D, H/2, 2, W/2, 2)
        far = self.back(tokens.reshape(n, d, h, w))
        return self.fuse(torch.cat([x, far], dim=1))
