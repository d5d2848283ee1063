"""Train the page branch: each layout is a class, most of them made up, so that the embedding tells arrangements apart
in general.

Cosine softmax over layouts (NormFace), then the kinds of documents are read off the embedding by a linear layer.

References
----------
Wang et al., NormFace: L2 Hypersphere Embedding for Face Verification, 2017, https://arxiv.org/abs/1704.06369
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.training.documents.layouts import TRAINING_LAYOUTS
from models.training.vision.checkpoint import Batch, run_steps
from models.training.vision.config import VisionConfig
from models.training.vision.data import DOCUMENT_CLASSES
from models.training.vision.network import VisionNetwork

SCALE = 16.0
"""Inverse temperature of the cosine softmax."""

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pages:
    """Small pages (n, 3, 128, 128), the layout of each as a class, and its kind of document."""

    images: U8
    layout: I64
    document: I64


def join_pages(known: tuple[U8, I64], made_up: tuple[U8, I64]) -> Pages:
    """Put the training layouts and the made-up ones into one set; made-up pages are of kind `other`."""
    kinds = np.array([DOCUMENT_CLASSES.index(layout.kind) for layout in TRAINING_LAYOUTS])
    other = np.full(len(made_up[1]), DOCUMENT_CLASSES.index("other"))
    return Pages(
        np.concatenate([known[0], made_up[0]]),
        np.concatenate([known[1], made_up[1] + len(TRAINING_LAYOUTS)]),
        np.concatenate([kinds[known[1]], other]),
    )


def train_page(
    network: VisionNetwork, pages: Pages, config: VisionConfig, work: Path, device: torch.device, workers: int
) -> None:
    """Train branch and kinds in place; goes on from a checkpoint in `work`."""
    torch.manual_seed(config.seed + 2)
    centres = nn.Linear(config.network.page_embedding, int(pages.layout.max()) + 1, bias=False)
    module = nn.ModuleDict({"branch": network.page, "kind": network.kind, "centres": centres})
    module = module.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.page_learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.page_learning_rate, total_steps=config.page_steps + 1, pct_start=0.15
    )
    # As many pages of the known kinds as made-up ones in a batch: there are fewer of them.
    known = np.flatnonzero(pages.document < DOCUMENT_CLASSES.index("other"))
    made_up = np.flatnonzero(pages.document == DOCUMENT_CLASSES.index("other"))

    def batch_of(step: int) -> tuple[npt.NDArray[np.float32], I64, I64]:
        rng = np.random.default_rng([config.seed, 12, step])
        third = config.page_batch_size // 3
        rows = np.concatenate([rng.choice(known, third), rng.choice(made_up, config.page_batch_size - third)])
        return distort(pages.images[rows], rng), pages.layout[rows], pages.document[rows]

    def loss_of(batch: Batch) -> torch.Tensor:
        image, layout, document = batch
        embedding = network.page(image.contiguous(memory_format=torch.channels_last))
        cosine = embedding @ nn.functional.normalize(centres.weight, dim=1).T
        by_layout = nn.functional.cross_entropy(SCALE * cosine, layout)
        # Kinds are read off, they do not bend the embedding.
        kind = nn.functional.cross_entropy(network.kind(embedding.detach()), document)
        return by_layout + kind

    run_steps(work / "page.pt", module, optimizer, schedule, config.page_steps, batch_of, loss_of, workers)


def distort(images: U8, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Shift, light and tint small pages anew, (n, 3, 128, 128) -> the same as float, zeros beside the page."""
    out = np.zeros(images.shape, np.float32)
    for row, image in enumerate(images):
        dy, dx = (int(v) for v in rng.integers(0, 4, 2))
        tint = rng.uniform(0.8, 1.15, (3, 1, 1)) * rng.uniform(0.85, 1.1)
        moved = image[:, dy:, dx:].astype(np.float32)
        lit = np.where(moved > 0, np.clip(moved * tint, 1, 255), 0)
        if rng.random() < 0.25:  # as a grey copy: colour must not be what tells kinds apart
            lit = np.broadcast_to(lit.mean(0, keepdims=True), lit.shape)
        out[row, :, : lit.shape[1], : lit.shape[2]] = lit
    return out
