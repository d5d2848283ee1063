"""Both jobs in a virtual world, from many seeds: whatever befalls it, nothing shows in what it leaves behind.

A failure names its seed; `WEIR_TEST_SIMULATED_SEED=7 pytest tests/unit/simulation` runs that one alone, and
`WEIR_TEST_SIMULATIONS=5000` so many seeds.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

pytest.importorskip("authlib", reason="the registry's client is an optional extra")

from tests.unit.simulation.checks import check
from tests.unit.simulation.plan import Plan
from tests.unit.simulation.world import World, virtual_world

SEEDS = int(os.environ.get("WEIR_TEST_SIMULATIONS", "200"))
ORACLE_EVERY = 20
"""Naive features take as long as the whole world otherwise."""
ENOUGH_WORLDS = 100
SEEN: Counter[str] = Counter()


def seeds() -> list[int]:
    """Return the seeds to run."""
    given = os.environ.get("WEIR_TEST_SIMULATED_SEED")
    return list(range(SEEDS)) if given is None else [int(given)]


@pytest.mark.parametrize("seed", seeds())
def test_nothing_shows_of_what_befell_the_world(seed: int) -> None:
    plan = Plan.of(seed)
    with virtual_world(plan) as world:
        try:
            world.run()
            check(world, with_oracle=seed % ORACLE_EVERY == 0)
            note(world)
        except Exception as error:
            befell = "\n".join(world.events)
            raise AssertionError(f"WEIR_TEST_SIMULATED_SEED={seed}: {error}\n{plan}\n{befell}") from error


def test_the_same_seed_gives_the_same_world() -> None:
    def run() -> list[object]:
        with virtual_world(Plan.of(13)) as world:
            world.run()
            topics = world.kafka.topics.items()
            return [(name, [list(topic.committed())]) for name, topic in topics], world.events

    assert repr(run()) == repr(run())


def note(world: World) -> None:
    """Count what happened in a world."""
    counts = world.learning.tasks[0].function._restored().join.counts
    entities = [names for task in world.scoring.tasks for names in task.state.values()]
    keys = [key for names in entities for name, blobs in names.items() if name.startswith("entities") for key in blobs]
    committed = {name: [record for _, _, record in topic.committed()] for name, topic in world.kafka.topics.items()}
    SEEN.update(
        {
            "worlds": 1,
            "deaths": world.scoring.deaths,
            "learner's deaths": world.learning.deaths,
            "in the midst of a write": sum("in the midst" in event for event in world.events),
            "registry away": sum("RegistryUnavailable" in event for event in world.events),
            "rescaled": sum("rescale" in event for event in world.events),
            "pages": sum(key % (1 << 52) >= 2 << 48 for key in keys),
            "dead letters": len(committed["dead-letters"]),
            "duplicates": len(committed["duplicates"]),
            "degraded": sum(b"entities" in (record.value or b"") for record in committed["decisions"]),
            "alerts": len(committed["alerts"]),
            "matured": counts.matured,
            "corrected": counts.corrections,
            "waiting": counts.waiting,
            "expired": counts.expired_unlabelled + counts.expired_labelled,
        }
    )


def test_the_worlds_held_what_they_are_for() -> None:
    if SEEN["worlds"] < ENOUGH_WORLDS:
        pytest.skip("only a few worlds were run")
    assert all(SEEN.values()), f"never happened: {SEEN}"
