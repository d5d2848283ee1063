"""`python -m models.training.multimodal`: draw documents, train, export, measure with real OCR, write the card."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

import torch

from models.training.multimodal.build import build
from models.training.multimodal.config import SHIPPED, WORK, MultimodalConfig, quick_config
from models.training.multimodal.pictures import MOBILEVIT, PICTURE_ENCODERS, PictureEncoderError


def main(argv: list[str] | None = None) -> int:
    """Train and ship."""
    parser = argparse.ArgumentParser(description="Train the multimodal model of the evidence services.")
    parser.add_argument("--output", type=Path, default=SHIPPED, help="folder to write the graphs and their card to")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of drawn documents and checkpoints")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of torch, and processes that draw and read documents"
    )
    parser.add_argument("--device", default="cpu", help="cuda trains on a GPU; the work is meant for one")
    parser.add_argument("--quick", action="store_true", help="train in under a minute, to try the command; not for use")
    parser.add_argument(
        "--picture-encoder",
        choices=PICTURE_ENCODERS,
        default=MOBILEVIT,
        help="who looks at the picture; swin-tiny is a hundred times as large and needs the extra swin",
    )
    parser.add_argument(
        "--picture-weights", default="", metavar="FILE", help="a state of torchvision's swin_t to start swin-tiny from"
    )
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    config = quick_config() if given.quick else MultimodalConfig()
    network = replace(config.network, picture=given.picture_encoder, picture_weights=given.picture_weights)
    config = replace(config, network=network)
    try:
        card = build(config, given.output, given.work, given.threads, torch.device(given.device))
    except PictureEncoderError as error:
        parser.error(str(error))
    print(f"wrote {given.output}: MRR@10 {card['metrics']['retrieval']['mrr_at_10']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
