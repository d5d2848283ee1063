"""A read_committed reader of `decisions` in a process of its own, from the first record to the last, whatever fails.

It connects to the broker directly. Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local.flink import REPOSITORY
from jobs.stream.topic_reader import ReadError, TopicReader
from schemas.records import decode_record
from tests.chaos.checker import Seen, money_by_account

ANSWER_SECONDS = 60.0
HIDDEN_VARIABLES = ("LD_PRELOAD",)  # the reader's clock is not the one that jumps


class ReaderProcess:
    """The process, seen from the run that started it.

    Parameters
    ----------
    servers, topic
        What it reads.
    spool
        File that what was read is written to at the end.
    """

    def __init__(self, servers: str, topic: str, spool: Path) -> None:
        self._spool = spool
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.reader", servers, topic, str(spool)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={name: value for name, value in os.environ.items() if name not in HIDDEN_VARIABLES},
            start_new_session=True,
        )
        self._answer()  # it has found the topic: from here on it reads, whatever fails

    def first_seen(self, offsets: Mapping[int, int]) -> dict[int, float | None]:
        """Return by partition of the input when the first decision on a record from an offset on was read."""
        answer = self._ask({"first_seen": list(offsets.items())})
        return {int(number): seen for number, seen in answer}

    def count(self) -> int:
        """Return how many decisions were read so far."""
        return int(self._ask({"count": True}))

    def money(self, ends: Mapping[int, int]) -> dict[tuple[str, str], tuple[int, int]]:
        """Return amount and number by account and currency, as `money_by_account`."""
        return {(a, c): (amount, n) for a, c, amount, n in self._ask({"money": list(ends.items())})}

    def finish(self) -> list[Seen]:
        """End it; return everything that it read, in its order."""
        self._ask({"finish": True})
        self._process.wait(ANSWER_SECONDS)
        with self._spool.open("rb") as file:
            return [
                Seen(partition, offset, decode_record(value, name="decision"))
                for partition, offset, value in pickle.load(file)
            ]

    def stop(self) -> None:
        """End it without asking."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(ANSWER_SECONDS)

    def _ask(self, command: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end shows in the answer
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ReadError(f"the reader of decisions ended with status {self._process.poll()}; see its message above")
        return json.loads(line)


def main(servers: str, topic: str, spool: str) -> int:
    """Read until told to finish, answering one JSON line with one JSON line."""
    records: list[tuple[int, int, bytes]] = []
    decisions: list[dict[str, Any]] = []
    seen_at: list[float] = []
    failure: list[str] = []
    is_over, is_ready = threading.Event(), threading.Event()

    def read() -> None:
        try:
            with TopicReader({"bootstrap.servers": servers}, [topic]) as reader:
                is_ready.set()
                while not is_over.is_set():
                    for message in reader.read(2_000, timeout_seconds=0.2):
                        value = message.value() or b""
                        records.append((message.partition(), message.offset(), value))
                        decision = decode_record(value, name="decision")
                        kept = ("account_id", "currency", "amount_minor", "source_partition", "source_offset")
                        decisions.append({name: decision[name] for name in kept})
                        seen_at.append(time.monotonic())
        except Exception as error:  # the process that asked has to learn of anything
            failure.append(repr(error))
            is_ready.set()

    thread = threading.Thread(target=read, name="reader")
    thread.start()
    is_ready.wait()
    print(json.dumps("failed" if failure else "ready"), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if failure:
            print(f"reading {topic} failed: {failure[0]}", file=sys.stderr)
            return 1
        n = len(seen_at)
        answer: Any = None
        if "first_seen" in command:
            wanted = dict(command["first_seen"])
            found: dict[int, float | None] = dict.fromkeys(wanted)
            for decision, moment in zip(decisions[:n], seen_at[:n], strict=True):
                number = decision["source_partition"]
                if number in found and found[number] is None and decision["source_offset"] >= wanted[number]:
                    found[number] = moment
            answer = list(found.items())
        elif "count" in command:
            answer = n
        elif "money" in command:
            sums = money_by_account(decisions[:n], dict(command["money"]))
            answer = [[*key, *value] for key, value in sums.items()]
        elif "finish" in command:
            is_over.set()
            thread.join()
            with Path(spool).open("wb") as file:
                pickle.dump(records, file)
        print(json.dumps(answer), flush=True)
        if is_over.is_set():
            return 0
    is_over.set()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
