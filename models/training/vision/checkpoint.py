"""Training that may be stopped at any moment and goes on where it was."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)

EVERY = 50


def run_steps(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    steps: int,
    loss_of: Callable[[int], torch.Tensor],
) -> None:
    """Take optimiser steps from the last checkpoint to the end.

    Parameters
    ----------
    path
        The checkpoint; written every 50 steps, aside and renamed.
    loss_of
        Loss of step number i. It draws its batch from the number alone, so a resumed run sees the batches that an
        uninterrupted one sees.
    """
    first = 0
    if path.exists():
        state: dict[str, Any] = torch.load(path, weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = int(state["step"])
        logger.info("%s: going on from step %d of %d", path.name, first, steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    module.train()
    mean = 0.0
    for step in range(first, steps):
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        value = float(loss.detach())
        mean = value if step == first else 0.95 * mean + 0.05 * value
        if (step + 1) % EVERY == 0 or step + 1 == steps:
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
            logger.info("%s: step %d of %d, loss %.4f", path.name, step + 1, steps, mean)
    module.eval()
