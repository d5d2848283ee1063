"""The drift reference that goes with a model: what its features looked like in the weeks that it was made on.

The learner job compares each day's features with it (`online_learning.drift.windows`). `python -m models.training`
makes it with the model; `python -m models.training.drift_reference` makes it for the model that is there, from the same
rows, without training, and so without the packages of training.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from models.features.catalogue import FEATURE_NAMES
from models.features.drift_reference import Reference
from models.scoring.model import REFERENCE_FILE
from models.training.config import SHIPPED, TrainingConfig, quick_config
from models.training.dataset import Dataset, simulate_dataset
from models.training.simulator.config import DAY_MS


def reference_of(config: TrainingConfig, main: Dataset) -> Reference:
    """Return the reference of the main stream's rows from `reference_from_day` to the test, as they are weighted.

    Before that day histories are still filling, and no day looks like the one before; the first day of other
    populations, on which the model is trained besides, is left out for the same reason. The test is left out too: it
    stands for what comes later.
    """
    start_ms = config.main_stream().start_ms
    from_ms = start_ms + config.reference_from_day * DAY_MS
    to_ms = start_ms + (config.days - config.test_days) * DAY_MS
    rows = main.take((main.event_time_ms >= from_ms) & (main.event_time_ms < to_ms))
    return Reference.of(FEATURE_NAMES, rows.X, rows.event_time_ms, rows.weight)


def simulate_reference(config: TrainingConfig, advance: Callable[[float], None] = lambda days: None) -> Reference:
    """Return the reference that training with this configuration makes, without training: the same bytes."""
    before_test = config.days - config.test_days
    stream = replace(config.main_stream(), days=before_test)
    validation_ms = stream.start_ms + (before_test - config.validation_days) * DAY_MS
    main = simulate_dataset(stream, config.batch_size, validation_ms, config.legitimate_share, advance)
    return reference_of(config, main)


def add_reference(directory: Path, reference: Reference) -> None:
    """Put a drift reference beside a model that is there, in place of an older one, and name it in the card."""
    (directory / REFERENCE_FILE).write_bytes(reference.to_bytes())
    card = json.loads((directory / "card.json").read_text())
    card["data"]["drift_reference"] = {
        "rows": reference.rows,
        "from_ms": reference.from_ms,
        "to_ms": reference.to_ms,
        "window_ms": reference.window_ms,
    }
    names = [name for name in card.pop("files") if name != REFERENCE_FILE]
    write_card(directory, card, [*names, REFERENCE_FILE])


def write_card(directory: Path, card: dict[str, Any], names: list[str]) -> None:
    """Write a model's card with the SHA-256 of the files named."""
    files = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}
    text = json.dumps({**card, "files": files}, indent=2, allow_nan=False)
    (directory / "card.json").write_text(text + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the reference of the model in a directory."""
    parser = argparse.ArgumentParser(prog="python -m models.training.drift_reference", description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="directory of the model")
    parser.add_argument("--quick", action="store_true", help="for a model made by `python -m models.training --quick`")
    arguments = parser.parse_args(argv)
    if arguments.quick and arguments.out == SHIPPED:
        parser.error("--quick is for toys: give --out, so that the shipped model keeps its reference")
    config = quick_config() if arguments.quick else TrainingConfig()
    started = time.perf_counter()
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("simulated days through the engine", total=config.days - config.test_days)
        reference = simulate_reference(config, lambda done: progress.advance(task, done))
    add_reference(arguments.out, reference)
    Console().print(
        f"{reference.rows:,} rows, drift reference in {arguments.out}; {time.perf_counter() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
