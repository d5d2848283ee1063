"""`python -m models.training`: build the shipped model from nothing but the simulator's seed."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.training.config import SHIPPED, TrainingConfig, quick_config
from models.training.report import SizeResult, print_summary, write_report
from models.training.sizes import measure_sizes
from models.training.train import ship, simulate_split, train

REPOSITORY = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Train, export, check and write the model and its report."""
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="directory of the model")
    parser.add_argument("--docs", type=Path, default=REPOSITORY / "docs", help="folder for models.md, .json and .svg")
    parser.add_argument("--no-sizes", action="store_true", help="skip training other sizes for the cost table (faster)")
    parser.add_argument("--quick", action="store_true", help="a toy model in half a minute; needs --out and --docs")
    arguments = parser.parse_args(argv)
    if arguments.quick and (arguments.out == SHIPPED or arguments.docs == REPOSITORY / "docs"):
        parser.error("--quick builds a toy: give --out and --docs, so that it does not replace the shipped model")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    config = quick_config() if arguments.quick else TrainingConfig()
    started = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        days = config.days + config.cold_days * (config.cold_training_streams + 2)
        task = progress.add_task("simulated days through the engine", total=days)
        data = simulate_split(config, lambda done: progress.advance(task, done))
    simulated = time.perf_counter() - started
    trained = train(config, data)
    ship(trained, config, data, arguments.out)
    sizes: list[SizeResult] = [] if arguments.no_sizes else measure_sizes(config, data)
    seconds = time.perf_counter() - started
    write_report(arguments.docs, arguments.out, trained, config, data, sizes, simulated, seconds)
    print_summary(Console(), trained)
    Console().print(f"Model in {arguments.out}, report in {arguments.docs / 'models.md'}; {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
