"""When fraud and laundering episodes start, and which of their events belong to the pattern."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.training.simulator import fraud, laundering
from models.training.simulator.config import DAY_MS, FRAUD_PATTERNS, HOUR_MS, PATTERNS
from models.training.simulator.events import UNMARKED, Events, new_events
from models.training.simulator.world import Rng, World

Episode = Callable[[World, Rng, int, bool], Events]

# pattern: (maker, mean number of marked events in an episode, share of the events of its family)
# The means follow from the ranges in the makers; a test compares them with what comes out.
EPISODES: dict[str, tuple[Episode, float, float]] = {
    "card_testing": (fraud.card_testing, 19.2, 0.25),
    "account_takeover": (fraud.account_takeover, 3.0, 0.20),
    "stolen_card": (fraud.stolen_card, 5.5, 0.40),
    "bust_out": (fraud.bust_out, 12.5, 0.15),
    "structuring": (laundering.structuring, 8.0, 0.15),
    "fan_in": (laundering.fan_in, 16.0, 0.20),
    "fan_out": (laundering.fan_out, 15.0, 0.20),
    "mule_chain": (laundering.mule_chain, 4.5, 0.15),
    "pass_through": (laundering.pass_through, 8.75, 0.15),
    "cycle": (laundering.cycle, 6.75, 0.15),
}

_EPISODES_PER_DAY = 1_000_000  # room in an episode's number for the day it started on
_LONGEST_DAYS = {"bust_out": 28, "structuring": 14}  # 7 for the others: few of their episodes take longer


def episodes_per_day(world: World, pattern: str) -> float:
    """Return the expected number of episodes of a pattern that start on a day."""
    config = world.config
    if pattern not in config.patterns:
        return 0.0
    is_fraud = pattern in FRAUD_PATTERNS
    rate = config.fraud_rate if is_fraud else config.laundering_rate
    family = [name for name in config.patterns if (name in FRAUD_PATTERNS) == is_fraud]
    _, mean_events, share = EPISODES[pattern]
    share /= sum(EPISODES[name][2] for name in family)
    return config.expected_events_per_day * rate * share / mean_events


def start_episodes(world: World, day_ms: int, pattern: str) -> Events:
    """Return all events of the episodes of a pattern that start on the UTC day at `day_ms`; they may run for weeks."""
    day = day_ms // DAY_MS
    number = PATTERNS.index(pattern)
    make = EPISODES[pattern][0]
    rng = np.random.default_rng([world.config.seed, 4, day, number])
    parts = [new_events(0)]
    first_episode = day * _EPISODES_PER_DAY + number * _EPISODES_PER_DAY // len(PATTERNS)
    for k in range(int(rng.poisson(episodes_per_day(world, pattern)))):
        is_careful = bool(rng.random() < world.config.stealth)
        # Careful criminals keep the hours of honest people; 13:00 UTC is afternoon where most accounts are.
        hour = rng.normal(13.0, 3.5) % 24 if is_careful else rng.uniform(0.0, 24.0)
        events = make(world, rng, day_ms + int(hour * HOUR_MS), is_careful)
        is_marked = events["pattern"] != UNMARKED
        events["pattern"] = np.where(is_marked, number, 0)
        events["episode"] = np.where(is_marked, first_episode + k, -1)
        parts.append(events)
    return np.concatenate(parts)


def running_episodes(world: World, day_ms: int) -> Events:
    """Return the events of episodes that started before the day at `day_ms` and may still run on it.

    Without them a stream would begin with a lull: bust-outs take weeks to build up.
    """
    parts = [new_events(0)]
    for pattern in EPISODES:
        for days_before in range(_LONGEST_DAYS.get(pattern, 7), 0, -1):
            parts.append(start_episodes(world, day_ms - days_before * DAY_MS, pattern))
    return np.concatenate(parts)
