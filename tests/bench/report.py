"""The results for people: tables on the terminal, a plot, and docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.openloop import WARM_UP_RATE

KINDS = {
    "alerts": "produce to alert",
    "decisions": "produce to decision, as written",
    "ledger": "produce to decision, committed",
}
SHOWN = ("p50", "p90", "p95", "p99", "p99.9", "max")
TARGET_MS = 200


def print_steps(console: Console, steps: Sequence[Mapping[str, Any]]) -> None:
    """Print latencies by rate."""
    table = Table(title="latency by rate, milliseconds from the moment a record was due")
    for heading in ("events/s", "in/s", "out/s", "lag at end", "sustained", "what", *SHOWN, "count"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for step in steps:
        for row, (kind, words) in enumerate(KINDS.items()):
            latency = step[f"{kind}_ms"]
            rates = (
                (f"{step['rate']:,}", f"{step['rate_in']:,.0f}", f"{step['rate_out']:,.0f}", f"{step['lag_at_end']:,}")
                if row == 0
                else ("", "", "", "")
            )
            sustained = ("yes" if step["sustained"] else "no") if row == 0 else ""
            table.add_row(*rates, sustained, words, *(_ms(latency.get(p)) for p in SHOWN), f"{latency['count']:,}")
        table.add_section()
    console.print(table)
    cpu = Table(title="CPU in cores, and checkpoints")
    names = sorted({name for step in steps for name in step["cpu_cores"]})
    for heading in ("events/s", *names, "checkpoints", "mean ms", "longest ms", "MiB", "written"):
        cpu.add_column(heading, justify="right")
    for step in steps:
        done = step["checkpoints"]
        cells = [f"{step['cpu_cores'].get(name, 0):.2f}" for name in names]
        ends = [str(done["completed"]), _ms(done["mean_ms"]), _ms(done["longest_ms"])]
        cpu.add_row(f"{step['rate']:,}", *cells, *ends, *_checkpoint_mib(done))
    console.print(cpu)


def _checkpoint_mib(done: Mapping[str, Any]) -> list[str]:
    return [f"{done['largest_mib']:.1f}", f"{done['written_mib']:.1f}" if "written_mib" in done else "-"]


def print_drains(console: Console, drains: Sequence[Mapping[str, Any]]) -> None:
    """Print throughputs."""
    table = Table(title="throughput on the same preloaded topic")
    for heading in ("system", "events", "seconds", "events/s", "we are faster by", "work"):
        table.add_column(heading, justify="left" if heading in ("system", "work") else "right")
    ours = drains[0]["events_per_second"] if drains else 0
    for drain in drains:
        speed = drain["events_per_second"]
        factor = "" if drain is drains[0] else f"{ours / speed:.1f}"
        table.add_row(
            drain["system"], f"{drain['events']:,}", f"{drain['seconds']:.1f}", f"{speed:,}", factor, drain["work"]
        )
    console.print(table)


def write_reports(results: Mapping[str, Any], folder: Path, performance: Path | None) -> list[Path]:
    """Write the numbers as JSON, the plot, and the page if asked for; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers, plot = folder / "results.json", folder / "latency.png"
    numbers.write_text(json.dumps(results, indent=2) + "\n")
    _plot(results, plot)
    written = [numbers, plot]
    if performance:
        performance.write_text(performance_page(results))
        written.append(performance)
    return written


def _plot(results: Mapping[str, Any], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")  # no display
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), width_ratios=(3, 2))
    steps = [step for step in results["steps"] if step["alerts_ms"]["count"]]
    rates = [step["rate"] / 1000 for step in steps]
    for percentile, style in (("p50", ":"), ("p99", "-"), ("p99.9", "--")):
        for kind, colour in (("alerts", "tab:red"), ("decisions", "tab:blue")):
            values = [step[f"{kind}_ms"].get(percentile) for step in steps]
            left.plot(rates, values, style, color=colour, marker="o", markersize=3, label=f"{kind}, {percentile}")
    left.axhline(TARGET_MS, color="grey", linewidth=0.8)
    left.set(xlabel="thousand events/s", ylabel="ms from due to seen", yscale="log", title="Latency by rate, open loop")
    left.legend(fontsize=8)
    left.grid(alpha=0.3, which="both")
    drains = results["drains"]
    bars = right.barh([d["system"] for d in drains], [d["events_per_second"] for d in drains], color="tab:blue")
    right.bar_label(bars, [f"{d['events_per_second']:,}" for d in drains], padding=3, fontsize=8)
    right.set(xlabel="events/s", title="Throughput on a preloaded topic")
    right.margins(x=0.2)
    right.invert_yaxis()
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


PAGE = """\
# Performance

Made by `make bench`{arguments} on {date}, with everything on one machine: broker, load, Flink (parallelism
{parallelism}), Redis and the readers. `make bench` measures your machine, and writes this page anew.

{cores} cores ({cpu}), {memory_gib} GiB, {system}, Python {python}, Java {java}.{pace}

![latency by rate, and throughput](bench/latency.png)
{latency}{cpu_table}{throughput}"""

LATENCY = """
## Latency

Open loop: record i is due at start + i / rate and is sent then, whatever becomes of the ones before; its Kafka
timestamp is that moment. Latency runs from there to the moment when a reader in another process has the answer, so it
includes every wait, also the sender's own. Timestamps are whole milliseconds, rounded down. {seconds:g} s are measured
at each rate, after {lead_seconds:g} s at the same rate that are left out; before the first rate, {warm_up_seconds:g} s
at {warm_up_rate:,} events/s. The transactions are of {accounts:,} simulated accounts, in {partitions} partitions.
Sustained: when the sending ends, less than half a second of input is on its way, and the latency of the last quarter is
not far above that of the first.

Alerts are read as soon as they are written. A decision is written at once too, in a transaction; a reader of the ledger
(read_committed) sees it after the next checkpoint, every {checkpoint_interval_seconds:g} s. Every alert is counted, and
a sample of the decisions. Milliseconds:
"""

CORES = """
## Where the cores go

Cores kept busy, on average over the step. The machine's stalls are those of more than 10 ms that a thread of the
highest real-time priority saw on its core: the host gave the core to others, and no program on it could run. MiB: what
a restart from the largest checkpoint reads; written: by a checkpoint, on average, besides copies of the whole state
that are made on the side.

"""

STAGES = """
CPU time an event by stage, in µs: the threads of broker and TaskManagers, which are named after their work. Waiting
for memory counts, and so do both cores' disturbing each other; at low rates it is mostly what each batch, poll and
checkpoint costs however few events it brings. `python -m tests.bench.core_profile` takes the three Python stages
further apart.

"""

THROUGHPUT = """
## Throughput beside per-event programs

Each system empties the same preloaded topic into a Kafka topic, exactly once where not said otherwise, with state and
checkpoints (or commits) every {checkpoint_interval_seconds:g} s, and nothing else runs. Weir has {parallelism} slot,
the others have {peer_slots} worker processes, one for each core. The rate is that of the second half of what came
out (without its last twentieth), when the JVMs have compiled most of what they run.

"""

PEERS = """
Two of the programs do Weir's work as one writes it event by event, with three keyed hops as Weir's own job has them: a
transaction becomes touches keyed by entity (account, counterparty, device), each reads the entity's history in keyed
state, and the partial features meet again under the originator's account. They compute 98 of the 102 features, run the
shipped model one event at a time, evaluate every shipped rule with its typology, recognise duplicates by their ids, and
encode the same decision record; a test holds their features, scores and rule hits to Weir's own. What they leave out
makes them faster: reference data (four features stay missing), labels, the model's part of the reasons, alerts, dead
letters and validation, rules changed at run time, the recorded order of touches, and a bound on the wait for a missing
partial. Without `warming`, which they leave out too, some more rules hit.

The others do less: the features of the transaction, its originator and the pair (46 of the 102; the others are passed
as missing), in one keyed hop with one state access an event, the same model, the rules that need only those features,
no duplicates, and the same decision record.

The PyFlink jobs are KeyedProcessFunctions in thread mode with object reuse. quix-streams 3.28.1 keeps its state in
RocksDB with changelog topics, and hops through topics in Kafka; it reads ahead of what it decides on, so in three hops
it is timed over the whole of a shorter topic, from the first record of its first hop to the last decision (once its
decisions come, they come faster: `curve` in `bench/results.json` has the rate in each tenth of them). bytewax
0.21.1 snapshots its state into SQLite and writes at least once. The loop of confluent-kafka and River 0.23.0 runs a
scaled logistic regression of River's in place of the shipped model, and keeps its state in memory alone: it would lose
it. Their code is in `tests/bench/peers/`.
"""


def performance_page(results: Mapping[str, Any]) -> str:
    """Return docs/performance.md."""
    machine, settings, steps, drains = (results[name] for name in ("machine", "settings", "steps", "drains"))
    latency = cores = throughput = ""
    if steps:
        latency = LATENCY.format(warm_up_rate=WARM_UP_RATE, **settings)
        for kind, words in KINDS.items():
            rows = []
            for step in steps:
                summary = step[f"{kind}_ms"]
                cells = [f"{step['rate']:,}", f"{step['rate_out']:,.0f}", "yes" if step["sustained"] else "no"]
                rows.append([*cells, *(_ms(summary.get(p)) for p in SHOWN), f"{summary['count']:,}"])
            latency += f"\n{words.capitalize()}:\n\n"
            latency += _markdown(["events/s", "out/s", "sustained", *SHOWN, "count"], rows)
        names = sorted({name for step in steps for name in step["cpu_cores"]})
        rows = []
        for step in steps:
            done = step["checkpoints"]
            used = [f"{step['cpu_cores'].get(name, 0):.2f}" for name in names]
            ends = [_ms(done["mean_ms"]), _ms(done["longest_ms"]), *_checkpoint_mib(done)]
            still = step.get("machine") or {}
            stood = [str(still.get("stalls", "-")), _ms(still.get("longest_stall_ms"))]
            rows.append([f"{step['rate']:,}", *used, *ends, *stood])
        headings = ["checkpoint, mean ms", "longest ms", "MiB", "written, MiB", "machine's stalls", "longest ms"]
        cores = CORES + _markdown(["events/s", *names, *headings], rows)
    measured = [(f"{step['rate']:,}", step["stages_us"]) for step in steps if step.get("stages_us")]
    measured += [("drain, second half", d["stages_us"]) for d in drains[:1] if d.get("stages_us")]
    if measured:
        stages = sorted({stage for _, spent in measured for stage in spent}, key=lambda s: -measured[-1][1].get(s, 0.0))
        table = [[stage, *(f"{spent.get(stage, 0.0):.1f}" for _, spent in measured)] for stage in stages]
        table.append(["all", *(f"{sum(spent.values()):.1f}" for _, spent in measured)])
        cores += STAGES + _markdown(["stage", *(name for name, _ in measured)], table)
    if drains:
        ours = drains[0]["events_per_second"]
        rows = []
        for drain in drains:
            speed = drain["events_per_second"]
            factor = "" if drain is drains[0] else f"{ours / speed:.1f} times"
            rows.append([drain["system"], f"{drain['events']:,}", f"{speed:,}", factor, drain["work"]])
        throughput = THROUGHPUT.format(**settings) + _markdown(
            ["system", "events", "events/s", "Weir is faster by", "work"], rows
        )
        throughput += PEERS if len(drains) > 1 else ""
    return PAGE.format(
        arguments=_arguments(results),
        date=results["date"],
        parallelism=settings["parallelism"],
        latency=latency,
        cpu_table=cores,
        throughput=throughput,
        pace=_pace(results.get("pace", [])),
        **{name: machine[name] for name in ("cores", "cpu", "memory_gib", "system", "python", "java")},
    )


def _pace(measured: Sequence[Mapping[str, float]]) -> str:
    if not measured:
        return ""
    additions = ", ".join(f"{moment['additions_ms']:g}" for moment in measured)
    memory = ", ".join(f"{moment['new_memory_gb_s']:g}" for moment in measured)
    return (
        " A virtual machine's pace is not steady:\nbefore, between and after the measurements a million additions in "
        f"Python took {additions} ms, and new memory came at\n{memory} GB/s."
    )


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _arguments(results: Mapping[str, Any]) -> str:
    given = " ".join(results["arguments"])
    return f" with `ARGS='{given}'`" if given else ""


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
