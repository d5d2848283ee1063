"""`python -m models.training.vision`: draw, train, export, quantise where it gains, measure, write the card."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from models.training.vision.config import SHIPPED, WORK, VisionConfig, quick_config
from models.training.vision.train import build


def main(argv: list[str] | None = None) -> int:
    """Train and ship."""
    parser = argparse.ArgumentParser(description="Train the vision model of the evidence services.")
    parser.add_argument("--output", type=Path, default=SHIPPED, help="folder to write the graph and its card to")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of drawn documents and checkpoints")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch, and processes that draw documents")
    parser.add_argument("--device", default="cpu", help="cuda trains on a GPU; the work is meant for one")
    parser.add_argument("--quick", action="store_true", help="train in a minute, to try the command; not for use")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    config = quick_config() if given.quick else VisionConfig()
    card = build(config, given.output, given.work, given.threads, torch.device(given.device))
    print(f"wrote {given.output}: ROC AUC {card['metrics']['held_out']['roc_auc']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
