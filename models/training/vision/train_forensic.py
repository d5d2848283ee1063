"""Train the forensic branch: on crops, with the truth of every place; then branch and head together on whole pages.

The truth of places is what makes each document go far: a crop of 160 pixels teaches 400 places.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.training.vision.checkpoint import Batch, run_steps
from models.training.vision.config import PLACE, SIDE, VisionConfig
from models.training.vision.data import IGNORE, Documents
from models.training.vision.network import VisionNetwork, page_places

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

EDIT_WEIGHT = 4.0
"""Weight of an edited place: about 1 in 15 is."""
MIN_PLACES = 2


def train_forensic(
    network: VisionNetwork, documents: Documents, config: VisionConfig, work: Path, device: torch.device, workers: int
) -> None:
    """Train branch and head in place; goes on from the checkpoints in `work`."""
    torch.manual_seed(config.seed)
    module = nn.ModuleDict({"branch": network.forensic, "head": network.head})
    module = module.to(device, memory_format=torch.channels_last)
    by_places = nn.CrossEntropyLoss(
        torch.tensor([1.0] + [EDIT_WEIGHT] * (config.network.forgery_classes - 1), device=device), ignore_index=IGNORE
    )
    crops = _Crops(documents, config)

    def loss_of(batch: Batch) -> torch.Tensor:
        pixels, light, places, page_class = batch
        image = _lit(pixels, light)
        features, logits = network.forensic(image)
        page, _ = network.head(features, logits, page_places(image).flatten(1))
        on_page = nn.functional.cross_entropy(page, page_class, label_smoothing=0.02)
        return by_places(logits, places.long()) + 0.4 * on_page

    optimizer, schedule = _descent(module, config.learning_rate, config.steps, config)
    run_steps(work / "forensic.pt", module, optimizer, schedule, config.steps, crops.batch, loss_of, workers)

    def loss_of_pages(batch: Batch) -> torch.Tensor:
        pixels, light, places, page_class = batch
        image = _lit(pixels, light)
        features, logits = network.forensic(image)
        page, _ = network.head(features, logits, page_places(image).flatten(1))
        # Forged or not is what the page is asked first; its kind only where it is forged.
        odds = torch.logsumexp(page[:, 1:], dim=1) - page[:, 0]
        forged = nn.functional.binary_cross_entropy_with_logits(odds, (page_class > 0).float())
        on_page = nn.functional.cross_entropy(page, page_class)
        return 0.5 * by_places(logits, places.long()) + 0.5 * forged + 0.5 * on_page

    def whole(step: int) -> tuple[U8, F32, U8, I64]:
        rng = np.random.default_rng([config.seed, 15, step])
        rows = rng.integers(0, len(documents), config.whole_batch_size)
        pixels = np.stack([documents.square(int(row)) for row in rows]).transpose(0, 3, 1, 2)
        return pixels, _light(rng, len(rows)), documents.places[rows], documents.forgery[rows]

    optimizer, schedule = _descent(module, config.whole_learning_rate, config.whole_steps, config)
    run_steps(work / "whole.pt", module, optimizer, schedule, config.whole_steps, whole, loss_of_pages, workers)


def _descent(
    module: nn.Module, rate: float, steps: int, config: VisionConfig
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=config.weight_decay)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=0.15)


def _light(rng: np.random.Generator, count: int) -> F32:
    return rng.uniform(0.9, 1.08, (count, 1, 1, 1)).astype(np.float32)


def _lit(pixels: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """Return pictures under another light, as float: rounding again would put noise where an edit left none."""
    image = pixels.float()
    return torch.where(image > 0, (image * light).clamp(1, 255), image).contiguous(memory_format=torch.channels_last)


class _Crops:
    """Batches of crops: around an edit in three of four crops of a forged page."""

    def __init__(self, documents: Documents, config: VisionConfig) -> None:
        self._documents, self._config = documents, config
        self._edited = [np.argwhere((places > 0) & (places != IGNORE)) for places in documents.places]
        self._extents = documents.extents() // PLACE

    def batch(self, step: int) -> tuple[U8, F32, U8, I64]:
        """Return crops (N, 3, c, c) 1-255 or 0 beside the page, their light, the classes of their places
        (N, c/8, c/8) and of the crops (N,).
        """
        config = self._config
        rng = np.random.default_rng([config.seed, 11, step])
        side, edge = config.crop, config.crop // PLACE
        pixels = np.empty((config.batch_size, 3, side, side), np.uint8)
        classes = np.empty((config.batch_size, edge, edge), np.uint8)
        of_crop = np.zeros(config.batch_size, np.int64)
        for row, number in enumerate(rng.integers(0, len(self._documents), config.batch_size).tolist()):
            y, x = self._corner(number, edge, rng)
            # Corners lie on places, so the grid of the last JPEG is where it is on a whole page.
            square = self._documents.square(number)
            pixels[row] = square[y * PLACE : y * PLACE + side, x * PLACE : x * PLACE + side].transpose(2, 0, 1)
            places = self._documents.places[number][y : y + edge, x : x + edge]
            classes[row] = places
            edits = places[(places > 0) & (places != IGNORE)]
            if len(edits) >= MIN_PLACES:
                of_crop[row] = edits[0]
        return pixels, _light(rng, len(pixels)), classes, of_crop

    def _corner(self, number: int, edge: int, rng: np.random.Generator) -> tuple[int, int]:
        """Return the upper left place of a crop."""
        edited = self._edited[number]
        if len(edited) and rng.random() < 0.75:
            corner = edited[int(rng.integers(len(edited)))] - rng.integers(2, edge - 2, 2)
        else:
            corner = np.array([rng.integers(0, max(1, int(extent) - edge + 4)) for extent in self._extents[number]])
        y, x = np.clip(corner, 0, SIDE // PLACE - edge)
        return int(y), int(x)
