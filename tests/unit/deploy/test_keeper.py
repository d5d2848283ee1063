"""The keeper: starts again what ended, and leaves alone what cannot live."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from deploy.local.keeper import Keeper


class FakeStack:
    logs = Path("logs")

    def __init__(self) -> None:
        self.alive = {"broker": False, "taskmanager-0": True, "taskmanager-1": True}
        self.started: list[int] = []

    def processes(self) -> list[Any]:
        return [
            SimpleNamespace(name=name, pid=1, is_alive=lambda alive=alive: alive) for name, alive in self.alive.items()
        ]

    def start_taskmanager(self, index: int) -> None:
        self.started.append(index)


def test_only_taskmanagers_that_ended_are_started_again() -> None:
    stack = FakeStack()
    keeper = Keeper(stack)  # type: ignore[arg-type]
    assert keeper.look() == []
    stack.alive["taskmanager-1"] = False
    assert keeper.look() == ["taskmanager-1"]
    assert stack.started == [1]


def test_one_that_ends_again_and_again_is_left_alone_and_the_others_are_not() -> None:
    stack = FakeStack()
    keeper = Keeper(stack, max_starts=3, within_seconds=1e9)  # type: ignore[arg-type]
    stack.alive["taskmanager-0"] = False
    assert [keeper.look() for _ in range(5)] == [["taskmanager-0"]] * 3 + [[], []]
    stack.alive["taskmanager-1"] = False
    assert keeper.look() == ["taskmanager-1"]


def test_starts_of_long_ago_do_not_count() -> None:
    stack = FakeStack()
    keeper = Keeper(stack, max_starts=1, within_seconds=0.0)  # type: ignore[arg-type]
    stack.alive["taskmanager-0"] = False
    assert [keeper.look() for _ in range(3)] == [["taskmanager-0"]] * 3
