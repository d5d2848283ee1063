"""Fetch the jars of the embedded stack by Maven, once.

In: ``deploy/local/pom.xml``. Out: ``<folder>/kafka/*.jar`` (a broker) and ``<folder>/flink/*.jar`` (the connector). A
stamp
with the pom's checksum makes a second call return at once; a changed pom fetches again.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import JarsNotFetchedError, StackError
from deploy.local.tools import find_java, find_maven

POM = Path(__file__).with_name("pom.xml")

_DOWNLOADED = re.compile(r"Downloaded from .*/([^/]+\.jar)\b")

Progress = Callable[[str], None]


def say_nothing(_line: str) -> None:
    """Progress reporter that reports to nobody."""


@dataclass(frozen=True)
class Jars:
    """The two sets of jars, which never share a class path."""

    folder: Path

    @property
    def kafka(self) -> Path:
        """Folder of the broker's libraries."""
        return self.folder / "kafka"

    @property
    def flink(self) -> Path:
        """Folder of what Flink needs beside its own libraries."""
        return self.folder / "flink"

    @property
    def connector(self) -> Path:
        """The shaded Kafka connector."""
        return next(iter(sorted(self.flink.glob("flink-sql-connector-kafka-*.jar"))))

    def are_complete(self) -> bool:
        """Whether both folders hold what the current pom asks for."""
        stamp = self.folder / "complete"
        return (
            stamp.exists()
            and stamp.read_text() == pom_checksum()
            and any(self.kafka.glob("kafka_2.13-*.jar"))
            and any(self.flink.glob("flink-sql-connector-kafka-*.jar"))
        )


def pom_checksum() -> str:
    """SHA-256 of the pom, which names every version."""
    return hashlib.sha256(POM.read_bytes()).hexdigest()


def fetch_jars(folder: Path, progress: Progress = say_nothing) -> Jars:
    """Make sure that the jars lie in `folder`.

    Parameters
    ----------
    folder
        Where they go; made if it does not exist.
    progress
        Called with a short line for every jar that arrives.

    Raises
    ------
    ToolMissingError
        No suitable Java, or jars are missing and there is no Maven to fetch them.
    JarsNotFetchedError
        Maven failed; the message carries its last error lines.
    """
    jars = Jars(folder.resolve())
    if jars.are_complete():
        return jars
    find_java()  # Maven's own complaint about a missing Java is hard to read
    maven = find_maven()
    for part in (jars.kafka, jars.flink):
        shutil.rmtree(part, ignore_errors=True)  # a jar of another version must not stay on the class path
        part.mkdir(parents=True)
    progress("fetching the Kafka broker and the Flink connector from Maven Central (about 60 MB, once)")
    _run_maven([str(maven), "-B", "-f", str(POM), "generate-resources", f"-Dweir.jars={jars.folder}"], progress)
    (jars.folder / "complete").write_text(pom_checksum())
    return jars


def _run_maven(command: list[str], progress: Progress) -> None:
    errors: list[str] = []
    arrived = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "[ERROR]" in line:
                errors.append(line.strip())
            elif found := _DOWNLOADED.search(line):  # what lies in Maven's own cache is copied without a word
                arrived += 1
                progress(f"jar {arrived}: {found.group(1)}")
    if process.returncode:
        detail = "\n".join(errors[:6]) or f"exit status {process.returncode}"
        raise JarsNotFetchedError(
            f"Maven could not fetch the jars of the embedded stack; check the network or the mirror in "
            f"~/.m2/settings.xml and run again.\n{detail}"
        )


def main() -> int:
    """Fetch the jars into the usual folder: ``python -m deploy.local.jars``."""
    try:
        find_java()
        fetch_jars(Path(__file__).resolve().parents[2] / ".weir" / "jars", lambda line: print(line, file=sys.stderr))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
