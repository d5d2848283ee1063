"""Contrastive training of both encoders, with groups of payments that differ in one field alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.training.documents.payment import Payment, draw_payment
from models.training.documents.words import BRANDS, EMBLEM_COLOURS, EMBLEM_SHAPES
from models.training.multimodal.config import MultimodalConfig
from models.training.multimodal.data import Pictures, alike, emblem_tokens, encode_all, simulated_lines
from models.training.multimodal.network import MultimodalNetwork
from models.training.vision.checkpoint import run_steps
from models.training.vision.train_page import distort

PICTURED_GROUPS = 3
"""Groups of a batch whose pictures are looked at; they differ in the beneficiary. The others have text alone and
differ in it: pictures are what training costs, and the model must give what it can when one is missing."""
EMBLEM_SHARE = 0.3
"""A token of 32 x 32 pixels shows the emblem if this share of it does."""
DROP_TEXT = 0.15
"""Share of steps in which the groups with pictures have no text."""


def train_multimodal(network: MultimodalNetwork, pictures: Pictures, config: MultimodalConfig, work: Path) -> None:
    """Train in place; goes on from a checkpoint in `work`."""
    torch.manual_seed(config.seed + 3)
    # Where is the emblem, what shape and what colour has it? A second task for the picture's tokens; the layer is
    # thrown away after training. Like the truth of places for forgeries, it is what makes few pictures enough.
    name_emblem = nn.Linear(config.network.width, 1 + len(EMBLEM_SHAPES) + len(EMBLEM_COLOURS))
    module = nn.ModuleDict({"network": network, "name_emblem": name_emblem})
    covered = torch.from_numpy(emblem_tokens(len(pictures.brand))).flatten(1)  # (n, 256)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps + 1, pct_start=0.15
    )
    by_brand = [np.flatnonzero(pictures.brand == brand) for brand in range(len(BRANDS))]

    def loss_of(step: int) -> torch.Tensor:
        rng = np.random.default_rng([config.seed, 13, step])
        payments, rows = groups(config, by_brand, rng)
        fields, lines = encode_all(payments, [simulated_lines(p, rng) for p in payments])
        image = torch.from_numpy(distort(pictures.images[rows], rng)).contiguous(memory_format=torch.channels_last)
        places = network.document.picture(image)
        line_ids = torch.from_numpy(lines)
        if rng.random() < DROP_TEXT:
            line_ids[: len(rows)] = 0
        unseen = torch.zeros(len(payments) - len(rows), *places.shape[1:])
        documents = network.document.embed(torch.cat([places, unseen]), line_ids)
        embedded = network.payment(torch.from_numpy(fields))
        scale = network.log_scale.exp().clamp(max=60.0)
        # Payments that are equal in all fields (two of one brand in a group) are no negatives of each other.
        target = _same(payments)
        both = scale * documents @ embedded.T
        contrast = 0.5 * (_soft_cross_entropy(both, target) + _soft_cross_entropy(both.T, target))
        emblem = _emblem_loss(name_emblem(places), covered[rows], torch.from_numpy(pictures.brand[rows]))
        return contrast + emblem

    run_steps(work / "multimodal.pt", module, optimizer, schedule, config.steps, loss_of)


def _emblem_loss(logits: torch.Tensor, covered: torch.Tensor, brand: torch.Tensor) -> torch.Tensor:
    """Return the loss of presence at every token, and of shape and colour at emblems; logits are (N, 256, 15)."""
    here = covered >= EMBLEM_SHARE
    known = here | (covered == 0)
    presence = nn.functional.binary_cross_entropy_with_logits(
        logits[..., 0][known], here[known].float(), pos_weight=torch.tensor(8.0)
    )
    brands = brand[:, None].expand_as(here)[here]
    shapes = len(EMBLEM_SHAPES)
    shape = nn.functional.cross_entropy(logits[..., 1 : 1 + shapes][here], brands % shapes)
    colour = nn.functional.cross_entropy(logits[..., 1 + shapes :][here], brands // shapes)
    return presence + shape + colour


def groups(
    config: MultimodalConfig, by_brand: Sequence[npt.NDArray[np.int64]], rng: np.random.Generator
) -> tuple[list[Payment], npt.NDArray[np.int64]]:
    """Return the payments of a batch, group by group, and the row of a picture for each of the first ones."""
    payments: list[Payment] = []
    rows: list[int] = []
    brands_here = [b for b, pictures in enumerate(by_brand) if len(pictures)]
    for number in range(config.batch_size // config.group):
        if number < PICTURED_GROUPS:
            brands = rng.choice(brands_here, config.group, replace=len(brands_here) < config.group)
            rows += [int(rng.choice(by_brand[int(b)])) for b in brands]
            payments += alike(draw_payment(rng), brands.tolist(), rng, "brand")
        else:
            brands = np.full(config.group, rng.choice(brands_here))
            payments += alike(draw_payment(rng), brands.tolist(), rng, ("amount", "day")[int(rng.integers(2))])
    return payments, np.array(rows)


def _same(payments: Sequence[Payment]) -> torch.Tensor:
    keys = [(p.amount_minor, p.currency, p.day, p.brand, p.goods) for p in payments]
    same = torch.tensor([[float(a == b) for b in keys] for a in keys])
    return same / same.sum(1, keepdim=True)


def _soft_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return -(target * torch.log_softmax(logits, dim=1)).sum(1).mean()
