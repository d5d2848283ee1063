"""Start a job inside Flink's Python driver: ``job_entry.py MODULE [ARGUMENT ...]`` calls ``MODULE.main(arguments)``.

The driver runs a file as ``__main__``. A job that runs as ``__main__`` has its functions pickled by value into the
job graph;
imported under its own name they go by reference, and the TaskManagers load the same modules as everybody else.
"""

import importlib
import sys


def main(arguments: list[str]) -> int:
    """Import the job's module and run it."""
    module = importlib.import_module(arguments[0])
    status = module.main(arguments[1:])
    return int(status or 0)


if __name__ == "__main__":
    # The driver takes any SystemExit for a failure, also that of status 0.
    if status := main(sys.argv[1:]):
        sys.exit(status)
