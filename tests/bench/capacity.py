"""What a load takes in cores, memory, partitions, checkpoints and money, from what `make bench` has measured.

``python -m tests.bench.capacity --rate 20000`` prints a plan; ``--check`` how well the model predicts the points that
it was made from, each left out in turn; ``--measure-state`` measures the bytes of state anew (half a minute) into
docs/bench/capacity.json.

Model: busy cores of a slot are a * (events/s)^b (least squares of the logarithms, over the steps that were sustained:
larger batches cost less per event); a checkpoint is c + d * transactions in the windows; state is bytes per entity and
per transaction in the windows, likewise. More slots than were measured are assumed to do as much each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

BENCH = Path(__file__).resolve().parents[2] / "docs" / "bench"
RESULTS, STATE = BENCH / "results.json", BENCH / "capacity.json"
OF_US = ("taskmanager-0", "broker", "jobmanager", "redis")
"""Processes that a deployment has; the bench's sender and readers are not among them."""
HEADROOM = 0.7
"""Share of the highest sustained rate to plan with: the rest is for catching up after a restart."""


@dataclass(frozen=True, slots=True)
class Line:
    """y = base + slope * x."""

    base: float
    slope: float

    @classmethod
    def fit(cls, x: Sequence[float], y: Sequence[float]) -> Line:
        """Fit by least squares."""
        slope, base = np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)
        return cls(float(base), float(slope))

    def at(self, x: float) -> float:
        """Predict."""
        return self.base + self.slope * x


@dataclass(frozen=True, slots=True)
class Power:
    """y = factor * x^exponent."""

    factor: float
    exponent: float

    @classmethod
    def fit(cls, x: Sequence[float], y: Sequence[float]) -> Power:
        """Fit by least squares of the logarithms; all of `x` and `y` are above 0."""
        line = Line.fit(np.log(x).tolist(), np.log(y).tolist())
        return cls(math.exp(line.base), line.slope)

    def at(self, x: float) -> float:
        """Predict."""
        return float(self.factor * x**self.exponent)


def left_out(x: Sequence[float], y: Sequence[float], model: type[Line] | type[Power] = Line) -> list[float]:
    """Predict each point by a model of the others; return (predicted - measured) / measured of each."""
    errors = []
    for i in range(len(x)):
        fitted = model.fit([*x[:i], *x[i + 1 :]], [*y[:i], *y[i + 1 :]])
        errors.append((fitted.at(x[i]) - y[i]) / y[i])
    return errors


@dataclass(frozen=True, slots=True)
class Measured:
    """The points."""

    rates: list[float]  # events/s of the sustained steps, one slot
    cores: list[float]  # busy cores of all processes of ours, at each
    seen: list[float]  # transactions since the start, at the end of each
    checkpoint_mib: list[float]  # the largest of each
    machine_cores: int
    drained_per_second: float  # emptying a full topic, one slot
    state: list[dict[str, float]]

    @classmethod
    def read(cls, results: Mapping[str, Any], state: Sequence[dict[str, float]]) -> Measured:
        """Take the points out of what the bench wrote."""
        settings = results["settings"]
        seen, at = [], 10_000.0 * settings["warm_up_seconds"]  # the warm-up runs at 10,000 events/s
        for step in results["steps"]:
            at += step["rate"] * (settings["seconds"] + settings["lead_seconds"])
            seen.append(at)
        kept = [i for i, step in enumerate(results["steps"]) if step["sustained"]]
        steps = [results["steps"][i] for i in kept]
        return cls(
            rates=[float(step["rate"]) for step in steps],
            cores=[sum(step["cpu_cores"][name] for name in OF_US) for step in steps],
            seen=[seen[i] for i in kept],
            checkpoint_mib=[step["checkpoints"]["largest_mib"] for step in steps],
            machine_cores=results["machine"]["cores"],
            drained_per_second=next(d["events_per_second"] for d in results["drains"] if d["system"] == "weir"),
            state=list(state),
        )

    def state_bytes(self, without: int | None = None) -> tuple[float, float]:
        """Return bytes per entity and per transaction (its three touches together), by least squares on shares."""
        points = [point for i, point in enumerate(self.state) if i != without]
        A = np.array([[p["entities"] / p["bytes"], p["transactions"] / p["bytes"]] for p in points])
        entity, transaction = np.linalg.lstsq(A, np.ones(len(points)), rcond=None)[0]
        return float(entity), float(transaction)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load takes."""

    slots: int
    partitions: int
    busy_cores: float
    cores: int
    state_gib: float
    checkpoint_gib: float
    dollars_per_million: float


def plan(measured: Measured, rate: float, entities: float, transactions: float, dollars_per_core_hour: float) -> Plan:
    """Plan for a load.

    Parameters
    ----------
    rate
        Events/s.
    entities, transactions
        Within the longest window.
    dollars_per_core_hour
        Of a virtual core.
    """
    of_slot = max(measured.rates)
    slots = max(1, math.ceil(rate / (HEADROOM * of_slot)))
    busy = slots * Power.fit(measured.rates, measured.cores).at(rate / slots)
    cores = slots * measured.machine_cores
    entity_bytes, transaction_bytes = measured.state_bytes()
    return Plan(
        slots=slots,
        partitions=2 * slots,  # a shard or two a slot, and a partition for each at least
        busy_cores=busy,
        cores=cores,
        state_gib=(entities * entity_bytes + transactions * transaction_bytes) / 2**30,
        checkpoint_gib=Line.fit(measured.seen, measured.checkpoint_mib).at(transactions) / 1024,
        dollars_per_million=cores * dollars_per_core_hour / 3600 / rate * 1e6,
    )


def measure_state() -> list[dict[str, float]]:
    """Fill stores with simulated transactions of towns of several sizes, and count their bytes."""
    from models.features.assemble import make_touches
    from models.features.catalogue import STORE
    from models.features.entity_store import EntityStore
    from models.training.simulator import SimulatorConfig, encode_stream
    from schemas.transactions import TransactionDecoder

    points = []
    for accounts, count in ((10_000, 50_000), (10_000, 300_000), (100_000, 150_000), (100_000, 500_000)):
        store = EntityStore(STORE)
        decoder = TransactionDecoder(None)
        taken = 0
        for batch in encode_stream(SimulatorConfig(seed=1, accounts=accounts, merchants=accounts // 10), count=count):
            columns, _, _ = decoder.decode([*batch.values])
            store.apply(make_touches(columns, 1)[0])
            taken += len(columns)
        counters = store.counters
        points.append(
            {
                "accounts": accounts, "transactions": taken, "entities": counters["entities"],
                "bytes": counters["bytes"],
            }
        )  # fmt: skip
    return points


def _percent(errors: Sequence[float]) -> str:
    return f"{100 * max(map(abs, errors)):.0f}% at most, {100 * float(np.mean(np.abs(errors))):.0f}% on average"


def check(measured: Measured) -> list[str]:
    """Return how well each part of the model predicts a point that it has not seen."""
    state = []
    for i, point in enumerate(measured.state):
        entity, transaction = measured.state_bytes(without=i)
        state.append((entity * point["entities"] + transaction * point["transactions"]) / point["bytes"] - 1)
    cores, checkpoints = Power.fit(measured.rates, measured.cores), Line.fit(measured.seen, measured.checkpoint_mib)
    of_entity, of_transaction = measured.state_bytes()
    return [
        f"busy cores = {cores.at(10_000):.2f} * (events/s / 10,000)^{cores.exponent:.2f}; "
        f"error {_percent(left_out(measured.rates, measured.cores, Power))}",
        f"largest checkpoint = {checkpoints.base:.0f} MiB + {1e6 * checkpoints.slope:.0f} per million transactions; "
        f"error {_percent(left_out(measured.seen, measured.checkpoint_mib))}",
        f"state = {of_entity:.0f} bytes per entity + {of_transaction:.0f} per transaction; error {_percent(state)}",
    ]


def load() -> Measured:
    """Read the points that lie in docs/bench."""
    return Measured.read(json.loads(RESULTS.read_text()), json.loads(STATE.read_text())["state"])


@click.command()
@click.option("--rate", type=float, default=20_000.0, show_default=True, help="Events/s.")
@click.option("--entities", type=float, default=1e6, show_default=True, help="Seen within the longest window.")
@click.option("--transactions", type=float, help="Within the longest window.  [default: an hour of them]")
@click.option("--dollars-per-core-hour", type=float, default=0.05, show_default=True, help="Put your price here.")
@click.option("--check", "checks", is_flag=True, help="Show the model and its errors.")
@click.option("--measure-state", "measures", is_flag=True, help="Measure bytes of state into docs/bench/capacity.json.")
def command(
    rate: float, entities: float, transactions: float | None, dollars_per_core_hour: float, checks: bool, measures: bool
) -> None:
    """Print what a load takes."""
    if measures:
        STATE.write_text(json.dumps({"state": measure_state()}, indent=1) + "\n")
    measured = load()
    if checks:
        for line in check(measured):
            click.echo(line)
        return
    held = 3600 * rate if transactions is None else transactions
    found = plan(measured, rate, entities, held, dollars_per_core_hour)
    for name in ("slots", "partitions", "cores"):
        click.echo(f"{name:>20}  {getattr(found, name)}")
    for name in ("busy_cores", "state_gib", "checkpoint_gib"):
        click.echo(f"{name:>20}  {getattr(found, name):.2f}")
    click.echo(f"{'dollars_per_million':>20}  {found.dollars_per_million:.5f}")


if __name__ == "__main__":
    command()
