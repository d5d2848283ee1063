"""Train the forensic branch: on crops, with the truth of every place; then its head on whole pages.

The truth of places is what makes few documents enough: each crop of 160 pixels teaches 400 places.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.training.vision.checkpoint import run_steps
from models.training.vision.config import PLACE, SIDE, VisionConfig
from models.training.vision.data import IGNORE, Documents, canvas
from models.training.vision.network import ForgeryHead, VisionNetwork, page_places

logger = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]
EDIT_WEIGHT = 4.0
"""Weight of an edited place: about 1 in 15 is."""
MIN_PLACES = 2


def train_forensic(network: VisionNetwork, documents: Documents, config: VisionConfig, work: Path) -> None:
    """Train branch and head on crops, in place; goes on from a checkpoint in `work`."""
    torch.manual_seed(config.seed)
    module = nn.ModuleDict({"branch": network.forensic, "head": network.head}).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps + 1, pct_start=0.15
    )
    weight = torch.full((config.network.forgery_classes,), EDIT_WEIGHT)
    weight[0] = 1.0

    def loss_of(step: int) -> torch.Tensor:
        image, places = _crops(documents, config, step)
        features, logits = network.forensic(image)
        page, _ = network.head(features, logits, page_places(image).flatten(1))
        by_place = nn.functional.cross_entropy(logits, places, weight=weight, ignore_index=IGNORE)
        return by_place + 0.4 * nn.functional.cross_entropy(page, _page_class(places), label_smoothing=0.02)

    run_steps(work / "forensic.pt", module, optimizer, schedule, config.steps, loss_of)


def _crops(documents: Documents, config: VisionConfig, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return crops (N, 3, c, c), 0-255, and the classes of their places (N, c/8, c/8)."""
    rng = np.random.default_rng([config.seed, 11, step])
    side, edge = config.crop, config.crop // PLACE
    images = np.empty((config.batch_size, 3, side, side), np.float32)
    classes = np.empty((config.batch_size, edge, edge), np.int64)
    for row, number in enumerate(rng.integers(0, len(documents), config.batch_size)):
        square = canvas(documents.jpegs[int(number)])
        places = documents.places[int(number)]
        y, x = _corner(places, square, edge, rng)
        # Corners lie on places, so the grid of the last JPEG is where it is on a whole page.
        crop = square[y * PLACE : y * PLACE + side, x * PLACE : x * PLACE + side].astype(np.float32)
        lit = np.where(crop > 0, np.clip(crop * rng.uniform(0.9, 1.08), 1, 255), 0)
        images[row] = lit.transpose(2, 0, 1)
        classes[row] = places[y : y + edge, x : x + edge]
    tensor = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
    return tensor, torch.from_numpy(classes)


def _corner(
    places: npt.NDArray[np.uint8], square: npt.NDArray[np.uint8], edge: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Return the upper left place of a crop: around an edit in three of four crops of a forged page."""
    edited = np.argwhere((places > 0) & (places != IGNORE))
    if len(edited) and rng.random() < 0.75:
        centre = edited[int(rng.integers(len(edited)))]
        corner = centre - rng.integers(2, edge - 2, 2)
    else:
        height = int((square[:, 0, 0] > 0).sum()) // PLACE
        width = int((square[0, :, 0] > 0).sum()) // PLACE
        corner = np.array([rng.integers(0, max(1, height - edge + 4)), rng.integers(0, max(1, width - edge + 4))])
    y, x = np.clip(corner, 0, SIDE // PLACE - edge)
    return int(y), int(x)


def _page_class(places: torch.Tensor) -> torch.Tensor:
    """Return the class of a crop: its edit's where at least two places hold one."""
    classes = torch.zeros(len(places), dtype=torch.int64)
    for row, crop in enumerate(places):
        edits = crop[(crop > 0) & (crop != IGNORE)]
        if len(edits) >= MIN_PLACES:
            classes[row] = edits[0]
    return classes


@dataclass(frozen=True, slots=True)
class PageFeatures:
    """What the head needs of whole pages: features (n, 64, 64, 64), logits of places, where the page is."""

    features: torch.Tensor
    places: torch.Tensor
    is_page: torch.Tensor


def page_features(network: VisionNetwork, jpegs: list[bytes], batch: int = 4) -> PageFeatures:
    """Run the branch over whole pages."""
    network.eval()
    features, places, pages = [], [], []
    with torch.inference_mode():
        for first in range(0, len(jpegs), batch):
            squares = np.stack([canvas(jpeg) for jpeg in jpegs[first : first + batch]])
            image = torch.from_numpy(squares).permute(0, 3, 1, 2).float()
            f, p = network.forensic(image)
            features.append(f.to(torch.bfloat16).contiguous())
            places.append(p.contiguous())
            pages.append(page_places(image).flatten(1))
    return PageFeatures(torch.cat(features), torch.cat(places), torch.cat(pages))


def fit_head(network: VisionNetwork, pages: PageFeatures, forgery: npt.NDArray[np.int64], config: VisionConfig) -> None:
    """Fit the head anew on whole pages, the branch left alone: a page has more places to err in than a crop."""
    torch.manual_seed(config.seed + 1)
    head: ForgeryHead = network.head
    head.train()
    target = torch.from_numpy(forgery)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    generator = torch.Generator().manual_seed(config.seed)
    for _ in range(config.head_epochs):
        for rows in torch.randperm(len(target), generator=generator).split(32):
            logits, _ = head(pages.features[rows].float(), pages.places[rows], pages.is_page[rows])
            loss = nn.functional.cross_entropy(logits, target[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    head.eval()
