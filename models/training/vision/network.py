"""The vision network: one branch looks closely for traces of editing, the other sees the page as a whole.

`image` is NCHW, uint8 or float, grey levels 0-255, a page in the upper left of a square whose rest is exactly 0. Both
branches are MobileViTs (see `blocks.py`), smaller than MobileViT-XXS.

References
----------
Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning, ICML 2018, https://arxiv.org/abs/1802.04712
Snell, Swersky and Zemel, Prototypical Networks for Few-shot Learning, NeurIPS 2017, https://arxiv.org/abs/1703.05175
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from models.training.vision.blocks import InvertedResidual, MobileViTBlock, convolution
from models.training.vision.residual import Residual


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Widths of the network."""

    forgery_classes: int = 7  # genuine, then the six kinds
    document_classes: int = 5  # the four kinds, then other
    stem: tuple[int, int] = (32, 8)  # from residuals, from colours
    widths: tuple[int, int, int] = (48, 64, 112)
    attention_width: int = 128
    feature: int = 64
    page_embedding: int = 128


class ForensicBranch(nn.Module):  # type: ignore[misc]
    """(N, 3, H, W) -> features (N, 64, H/8, W/8) and log-odds of each kind of edit at each place (N, 7, H/8, W/8)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        a, b, c = config.widths
        self.residual = Residual()
        # Apart, each with its own batch norm: noise is small beside colours and would be lost in their sums.
        self.stem = convolution(3, config.stem[0], 3, 2)
        self.colours = convolution(3, config.stem[1], 3, 2)
        self.fine = nn.Sequential(
            InvertedResidual(sum(config.stem), a, 2, 2),
            InvertedResidual(a, a, 1, 2),
            InvertedResidual(a, b, 2, 3),
            InvertedResidual(b, b, 1, 3),
        )
        self.coarse = nn.Sequential(InvertedResidual(b, c, 2, 3), MobileViTBlock(c, config.attention_width, 2, 4))
        self.join = nn.Sequential(
            convolution(b + c, config.feature, 1), convolution(config.feature, config.feature, 3, groups=config.feature)
        )
        self.place = nn.Conv2d(config.feature, config.forgery_classes, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and the map of log-odds."""
        stem = torch.cat(
            [self.stem(self.residual(image)), self.colours(image / 127.5 - 1.0)], dim=1
        )  # (N, 40, H/2, W/2)
        fine = self.fine(stem)  # (N, 64, H/8, W/8)
        coarse = nn.functional.interpolate(self.coarse(fine), scale_factor=2.0, mode="nearest")
        features = self.join(torch.cat([fine, coarse], dim=1))
        return features, self.place(features)


class ForgeryHead(nn.Module):  # type: ignore[misc]
    """From the places to the page: attention pooling of features, and the strongest places, to seven logits.

    The strongest 2 and 8 places of 64 square pixels each: the smallest edit, one digit, is about that large.
    """

    STRONGEST = (2, 8)

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(config.feature, 32), nn.Tanh(), nn.Linear(32, 1))
        self.classes = nn.Linear(config.feature + len(self.STRONGEST) * config.forgery_classes, config.forgery_classes)

    def forward(
        self, features: torch.Tensor, places: torch.Tensor, is_page: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, 7) and pooled features (N, 64); `is_page` (N, H/8 * W/8) is 1 where there is a page."""
        flat = features.flatten(2).transpose(1, 2)  # (N, T, 64)
        evidence = edit_log_odds(places).flatten(1)  # (N, T)
        outside = (1.0 - is_page) * -30.0
        weight = torch.softmax(self.attention(flat).squeeze(2) + evidence + outside, dim=1)  # (N, T)
        pooled = (flat * weight[:, :, None]).sum(1)  # (N, 64)
        strongest = torch.topk(evidence + outside, max(self.STRONGEST), dim=1)[1]  # (N, 8), in falling order
        index = strongest[:, None, :].expand(-1, places.shape[1], -1)
        top = torch.gather(places.flatten(2), 2, index)  # (N, 7, 8)
        means = [top[:, :, :count].mean(2) for count in self.STRONGEST]
        return self.classes(torch.cat([pooled, *means], dim=1)), pooled


class PageBranch(nn.Module):  # type: ignore[misc]
    """(N, 3, 128, 128) grey levels, the page made small -> unit vectors (N, 128): one kind lies close together."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(4, 24, 5, 4),  # 32
            InvertedResidual(24, 48, 1, 3),
            InvertedResidual(48, 80, 2, 3),  # 16
            MobileViTBlock(80, 96, 2, 4),
            InvertedResidual(80, 128, 2, 3),  # 8
        )
        # Where on the page a thing stands is what a layout is: the last maps are kept in 4 x 4 parts, not averaged to
        # one.
        self.embed = nn.Linear(128 * 16, config.page_embedding)

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        """Return the embedding."""
        is_page = (small.sum(1, keepdim=True) > 0).to(small.dtype)
        maps = self.layers(torch.cat([small / 127.5 - 1.0, is_page], dim=1))  # (N, 128, 8, 8)
        parts = nn.functional.avg_pool2d(maps, 2).flatten(1)  # (N, 128 * 16)
        return nn.functional.normalize(self.embed(parts), dim=1)


class VisionNetwork(nn.Module):  # type: ignore[misc]
    """The whole: `image` (N, 3, 512, 512) uint8 -> what the graph's outputs are called.

    Outputs
    -------
    forgery
        (N, 7) probabilities: genuine, then the kinds of forgery.
    document
        (N, 5) probabilities: the kinds of documents, then other.
    page_embedding
        (N, 128) unit vectors, for prototypes of new kinds of documents.
    forensic_embedding
        (N, 64), for prototypes of new kinds of forgeries.
    heat
        (N, 64, 64) log-odds that a place of 8 x 8 pixels was edited; -30 outside the page.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.forensic = ForensicBranch(config)
        self.head = ForgeryHead(config)
        self.page = PageBranch(config)
        self.kind = nn.Linear(config.page_embedding, config.document_classes)

    def forward(
        self, image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the outputs in the order above."""
        image = image.to(torch.float32)
        is_page = page_places(image)
        features, places = self.forensic(image)
        logits, pooled = self.head(features, places, is_page.flatten(1))
        embedding = self.page(nn.functional.avg_pool2d(image, 4))
        document = torch.softmax(self.kind(embedding), dim=1)
        heat = edit_log_odds(places) * is_page - 30.0 * (1.0 - is_page)
        return torch.softmax(logits, dim=1), document, embedding, pooled, heat


def page_places(image: torch.Tensor) -> torch.Tensor:
    """Return 1 for each 8 x 8 place that holds page, 0 where all is padding: (N, H/8, W/8)."""
    brightest = nn.functional.max_pool2d(image.amax(1, keepdim=True), 8).squeeze(1)
    return (brightest > 0).to(image.dtype)


def edit_log_odds(places: torch.Tensor) -> torch.Tensor:
    """Return the log-odds of any edit against none, (N, 7, H, W) -> (N, H, W)."""
    return torch.logsumexp(places[:, 1:], dim=1) - places[:, 0]
