"""The same world under Hypothesis: it chooses what happens next, and shrinks what goes wrong."""

from __future__ import annotations

import contextlib

import pytest

pytest.importorskip("authlib", reason="the registry's client is an optional extra")

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.unit.simulation.checks import check
from tests.unit.simulation.plan import Plan
from tests.unit.simulation.world import World, virtual_world


class TwoJobs(RuleBasedStateMachine):
    """Faults at any step; the world settles at the end, and must show none of them."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self._open = contextlib.ExitStack()

    @initialize(seed=st.integers(0, 10_000))
    def begin(self, seed: int) -> None:
        self.world = self._open.enter_context(virtual_world(Plan.of(seed)))

    @rule(steps=st.integers(1, 60))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.world.step()

    @rule(fault=st.sampled_from(["die", "learner dies", "rescale"]))
    def befall(self, fault: str) -> None:
        self.world.befall(fault)

    @rule(is_scoring=st.booleans(), is_unaligned=st.booleans())
    def checkpoint(self, is_scoring: bool, is_unaligned: bool) -> None:
        job = self.world.scoring if is_scoring else self.world.learning
        (job.trigger_unaligned if is_unaligned and self.world.plan.is_unaligned else job.trigger)()

    @rule(after=st.integers(0, 200), is_scoring=st.booleans())
    def die_in_the_midst(self, after: int, is_scoring: bool) -> None:
        (self.world.scoring if is_scoring else self.world.learning).disk.dies_after = after

    @rule()
    def commit(self) -> None:
        self.world.scoring.commit_next()

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.world.settle()
                check(self.world)
        finally:
            self._open.close()


TestTwoJobs = TwoJobs.TestCase
TestTwoJobs.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
