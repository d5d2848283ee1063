"""Document and payment in one space of 256 dimensions.

Four slots (amount, date, beneficiary, goods) read the document: each attends first to the lines of its text, then to
the places of its picture (cross-modal attention), and becomes 64 of the 256 numbers. The payment's four fields become
theirs without attention. Contrastive training (InfoNCE, both ways) makes the two agree.

References
----------
Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021,
https://arxiv.org/abs/2103.00020 Jaegle et al., Perceiver, ICML 2021, https://arxiv.org/abs/2103.03206 (learned
queries that read another modality)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from models.services.multimodal.grams import BUCKETS, FIELDS
from models.training.multimodal.pictures import MOBILEVIT, picture_encoder


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What the network is made of.

    Attributes
    ----------
    gram, width, slot
        Dimensions of an n-gram, of a token and of a slot.
    heads
        Of every attention.
    picture
        Who looks at the picture: `mobilevit` or `swin-tiny` (see `models.training.multimodal.pictures`).
    picture_weights
        File of weights that the picture's encoder starts from, as `torch.save` of torchvision's state; empty: chance.
    """

    gram: int = 64
    width: int = 96
    heads: int = 4
    slot: int = 64  # four of them make the 256
    picture: str = MOBILEVIT
    picture_weights: str = ""


class GramEncoder(nn.Module):  # type: ignore[misc]
    """(N, L, G) buckets of n-grams -> (N, L, gram): their scaled sum, 0 where a line is empty."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, config.gram, padding_idx=0)
        nn.init.normal_(self.table.weight, std=1.0)
        with torch.no_grad():
            self.table.weight[0] = 0.0

    def forward(self, grams: torch.Tensor) -> torch.Tensor:
        """Encode lines."""
        count = (grams > 0).sum(-1, keepdim=True).clamp(min=1).to(torch.float32)
        return self.table(grams).sum(-2) / count.sqrt()


class CrossAttention(nn.Module):  # type: ignore[misc]
    """Slots (N, 4, width) read tokens (N, T, inputs); `outside` (N, T) is 0 for a token and -1e4 for none."""

    def __init__(self, config: NetworkConfig, inputs: int) -> None:
        super().__init__()
        self.heads, self.each = config.heads, config.width // config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Sequential(nn.Linear(inputs, config.width), nn.Hardswish(), nn.Linear(config.width, config.width))
        self.value = nn.Linear(inputs, config.width)

    def forward(self, slots: torch.Tensor, tokens: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
        """Return what each slot read, (N, 4, width)."""
        n, t, _ = tokens.shape
        q = self.query(slots).reshape(n, -1, self.heads, self.each).transpose(1, 2)
        k = self.key(tokens).reshape(n, t, self.heads, self.each).transpose(1, 2)
        v = self.value(tokens).reshape(n, t, self.heads, self.each).transpose(1, 2)
        weight = torch.softmax(q @ k.transpose(2, 3) / self.each**0.5 + outside[:, None, None, :], dim=3)
        return (weight @ v).transpose(1, 2).reshape(n, len(FIELDS), -1)


class DocumentEncoder(nn.Module):  # type: ignore[misc]
    """`picture` (N, 3, 512, 512) uint8, `lines` (N, 40, 48) buckets -> `document_embedding` (N, 256), unit vectors."""

    def __init__(self, config: NetworkConfig, grams: GramEncoder) -> None:
        super().__init__()
        self.grams = grams
        self.picture = picture_encoder(config.picture, config.width, config.heads, config.picture_weights)
        self.slots = nn.Parameter(torch.randn(len(FIELDS), config.width) * 0.5)
        self.read_text = CrossAttention(config, config.gram)
        self.see = CrossAttention(config, config.width)
        self.from_text = nn.Linear(config.width, config.slot)
        self.from_picture = nn.Linear(config.width, config.slot)
        self.gate = nn.Linear(config.width, config.slot)

    def forward(self, picture: torch.Tensor, lines: torch.Tensor) -> torch.Tensor:
        """Embed documents."""
        half = nn.functional.avg_pool2d(picture.to(torch.float32), 2)  # (N, 3, 256, 256)
        return self.embed(self.picture(half), lines)

    def embed(self, places: torch.Tensor, lines: torch.Tensor) -> torch.Tensor:
        """Embed documents whose pictures are encoded already; places all 0 stand for no picture."""
        text = self.grams(lines)  # (N, 40, gram)
        no_line = (lines.amax(2) == 0).to(text.dtype) * -1e4
        slots = self.slots.expand(lines.shape[0], -1, -1)
        read = self.read_text(slots, text, no_line)  # (N, 4, width)
        seen = self.see(slots + read, places, torch.zeros_like(places[:, :, 0]))
        joined = self.from_text(read) + torch.sigmoid(self.gate(slots + read)) * self.from_picture(seen)  # (N, 4, 64)
        return nn.functional.normalize(joined.flatten(1), dim=1)


class PaymentEncoder(nn.Module):  # type: ignore[misc]
    """`fields` (N, 4, 48) buckets of n-grams -> `payment_embedding` (N, 256), unit vectors.

    A field is mapped by the document's own linear layers, so that a value and the line that prints it are close before
    any training; what training adds is which line a slot must read, and which emblem goes with a name.
    """

    def __init__(self, document: DocumentEncoder) -> None:
        super().__init__()
        self.grams = document.grams
        self.value = document.read_text.value
        self.project = document.from_text
        self.refine = nn.Sequential(nn.Linear(256, 256), nn.Hardswish(), nn.Linear(256, 256))
        nn.init.zeros_(self.refine[2].weight)
        nn.init.zeros_(self.refine[2].bias)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        """Embed payments."""
        each = self.project(self.value(self.grams(fields))).flatten(1)  # (N, 256)
        return nn.functional.normalize(each + self.refine(each), dim=1)


class MultimodalNetwork(nn.Module):  # type: ignore[misc]
    """Both encoders, one table of n-grams, and the temperature of the contrast."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.document = DocumentEncoder(config, GramEncoder(config))
        self.payment = PaymentEncoder(self.document)
        self.log_scale = nn.Parameter(torch.tensor(2.7))
