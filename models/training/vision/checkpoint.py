"""Training that may be stopped at any moment and goes on where it was."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

logger = logging.getLogger(__name__)

EVERY = 50
CHECKPOINT_SECONDS = 20.0

Batch = tuple[torch.Tensor, ...]


class _Steps(Dataset):  # type: ignore[misc]  # torch's types are not followed
    """Batch number i of a training, as DataLoader wants to see it."""

    def __init__(self, batch_of: Callable[[int], tuple[Any, ...]], steps: int) -> None:
        self._batch_of, self._steps = batch_of, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[Any, ...]:
        return self._batch_of(step)


def run_steps(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    steps: int,
    batch_of: Callable[[int], tuple[Any, ...]],
    loss_of: Callable[[Batch], torch.Tensor],
    workers: int = 0,
) -> None:
    """Take optimiser steps from the last checkpoint to the end.

    Parameters
    ----------
    path
        The checkpoint; written about every 20 seconds, aside and renamed.
    batch_of
        Batch of step number i, arrays. It is drawn from the number alone, so a resumed run sees the batches that an
        uninterrupted one sees, however many processes make them.
    loss_of
        Loss of a batch, on the device where `module` is.
    workers
        Processes that make batches ahead; 0 makes them between the steps.
    """
    first = 0
    if path.exists():
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=next(module.parameters()).device)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = int(state["step"])
        logger.info("%s: going on from step %d of %d", path.name, first, steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    module.train()
    device = next(module.parameters()).device
    ahead = {"prefetch_factor": 4} if workers else {}
    batches = DataLoader(
        _Steps(batch_of, steps), batch_size=None, sampler=range(first, steps), num_workers=workers, **ahead
    )
    mean: torch.Tensor | None = None
    written = time.monotonic()
    for step, batch in enumerate(batches, start=first):
        loss = loss_of(tuple(part.to(device) for part in batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        value = loss.detach()
        mean = value if mean is None else 0.95 * mean + 0.05 * value
        is_last = step + 1 == steps
        if (step + 1) % EVERY and not is_last:
            continue
        logger.info("%s: step %d of %d, loss %.4f", path.name, step + 1, steps, float(mean))
        if is_last or time.monotonic() - written > CHECKPOINT_SECONDS:
            written = time.monotonic()
            partial = path.with_suffix(".partial")
            torch.save(
                {
                    "module": module.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "step": step + 1,
                },
                partial,
            )
            partial.rename(path)
    module.eval()
