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
from models.training.multimodal.pictures import MOBILEVIT
from models.training.vision.checkpoint import Batch, run_steps
from models.training.vision.train_page import distort

EMBLEM_SHARE = 0.3
"""A token of 32 x 32 pixels shows the emblem if this share of it does."""
BOTH, TEXT, PICTURE = "both", "text", "picture"
DROP_TEXT = 0.15
"""Share of steps in which the groups with pictures have no text."""


def train_multimodal(
    network: MultimodalNetwork,
    pictures: Pictures,
    config: MultimodalConfig,
    work: Path,
    device: torch.device,
    workers: int,
    modality: str = BOTH,
) -> None:
    """Train in place; goes on from a checkpoint in `work`.

    Parameters
    ----------
    modality
        `both`, or `text` or `picture` for a network that never meets the other one: what the whole is compared with.
    """
    torch.manual_seed(config.seed + 3)
    # Where is the emblem, what shape and what colour has it? A second task for the picture's tokens; the layer is
    # thrown away after training. Like the truth of places for forgeries, it is what makes few pictures enough.
    name_emblem = nn.Linear(config.network.width, 1 + len(EMBLEM_SHAPES) + len(EMBLEM_COLOURS))
    module = nn.ModuleDict({"network": network, "name_emblem": name_emblem}).to(device)
    covered = torch.from_numpy(emblem_tokens(len(pictures.brand))).flatten(1).to(device)  # (n, 256)
    brand = torch.from_numpy(pictures.brand).to(device)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps + 1, pct_start=0.15
    )
    by_brand = [np.flatnonzero(pictures.brand == brand) for brand in range(len(BRANDS))]

    def batch_of(step: int) -> tuple[npt.NDArray[np.generic], ...]:
        rng = np.random.default_rng([config.seed, 13, step])
        payments, rows = groups(config, by_brand, rng)
        if modality == PICTURE:  # a document without a picture would say nothing
            payments = payments[: len(rows)]
        fields, lines = encode_all(payments, [simulated_lines(p, rng) for p in payments])
        images = np.rint(distort(pictures.images[rows], rng)).astype(np.uint8)
        if modality == PICTURE or (modality == BOTH and rng.random() < DROP_TEXT):
            lines[: len(rows)] = 0
        return fields, lines, images, rows, _same(payments)

    def loss_of(batch: Batch) -> torch.Tensor:
        fields, lines, images, rows, target = batch
        places = network.document.picture(images.float().contiguous(memory_format=torch.channels_last))
        seen = places if modality != TEXT else torch.zeros_like(places)
        unseen = torch.zeros(len(lines) - len(rows), *places.shape[1:], device=places.device)
        documents = network.document.embed(torch.cat([seen, unseen]), lines)
        embedded = network.payment(fields)
        scale = network.log_scale.exp().clamp(max=60.0)
        both = scale * documents @ embedded.T
        contrast = 0.5 * (_soft_cross_entropy(both, target) + _soft_cross_entropy(both.T, target))
        if modality == TEXT:
            return contrast
        return contrast + _emblem_loss(name_emblem(places), covered[rows], brand[rows])

    encoder = "" if config.network.picture == MOBILEVIT else f"-{config.network.picture}"
    name = f"multimodal-{modality}{encoder}.pt"
    run_steps(work / name, module, optimizer, schedule, config.steps, batch_of, loss_of, workers)


def _emblem_loss(logits: torch.Tensor, covered: torch.Tensor, brand: torch.Tensor) -> torch.Tensor:
    """Return the loss of presence at every token, and of shape and colour at emblems; logits are (N, 256, 15)."""
    here = covered >= EMBLEM_SHARE
    known = here | (covered == 0)
    presence = nn.functional.binary_cross_entropy_with_logits(
        logits[..., 0][known], here[known].float(), pos_weight=torch.tensor(8.0, device=logits.device)
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
        if number < config.pictured_groups:
            brands = rng.choice(brands_here, config.group, replace=len(brands_here) < config.group)
            rows += [int(rng.choice(by_brand[int(b)])) for b in brands]
            payments += alike(draw_payment(rng), brands.tolist(), rng, "brand")
        else:
            brands = np.full(config.group, rng.choice(brands_here))
            payments += alike(draw_payment(rng), brands.tolist(), rng, ("amount", "day")[int(rng.integers(2))])
    return payments, np.array(rows)


def _same(payments: Sequence[Payment]) -> npt.NDArray[np.float32]:
    """Return the share of each payment in a document's match: payments equal in all fields (two of one brand in a
    group) are no negatives of each other.
    """
    keys = [(p.amount_minor, p.currency, p.day, p.brand, p.goods) for p in payments]
    number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    of = np.array([number[key] for key in keys])
    same = (of[:, None] == of).astype(np.float32)
    share: npt.NDArray[np.float32] = same / same.sum(1, keepdims=True)
    return share


def _soft_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return -(target * torch.log_softmax(logits, dim=1)).sum(1).mean()
