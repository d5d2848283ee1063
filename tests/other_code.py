"""Another version of the code, for whoever starts with its folder on PYTHONPATH: the feature catalogue is another one.

``python -m tests.other_code IN OUT`` scores a pickled stream by plain calls, in whatever version it is started with.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

CHANGES = (
    # Money sent with the device: two windows more, whose sums no store kept before.
    ('"device_sum", USE, S.SUM, "1d"', '"device_sum", USE, S.SUM, "10m 1d 7d"'),
    ('"device_count", USE, S.COUNT, "10m 1h 1d 7d"', '"device_count", USE, S.COUNT, "10m 1h 1d 7d 30d"'),
)

_SITE = '''"""Read by every Python that finds it on its path: the catalogue as another version has it."""

import importlib.machinery
import sys

CHANGES = {changes!r}
NAME = "models.features.catalogue"


class Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        source = self.get_data(self.path).decode()
        for old, new in CHANGES:
            assert source.count(old) == 1, f"the catalogue has no {{old}}"
            source = source.replace(old, new)
        return compile(source, self.path, "exec")


class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        spec.loader = Loader(name, spec.origin)
        return spec


sys.meta_path.insert(0, Finder)
'''


def write_other_code(folder: Path) -> Path:
    """Write the folder for PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SITE.format(changes=CHANGES))
    return folder


def decisions_of_other_code(code: Path, recorded: object, shards: int, redis_url: str, folder: Path) -> list[bytes]:
    """Score a recorded stream by plain calls in a process of the other version, with reference data of a Redis."""
    given, made = folder / "recorded.pickle", folder / "decisions.pickle"
    given.write_bytes(pickle.dumps((recorded, shards, redis_url)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(code), str(REPOSITORY)])}
    command = [sys.executable, "-m", "tests.other_code", str(given), str(made)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, timeout=300)
    decisions: list[bytes] = pickle.loads(made.read_bytes())
    return decisions


if __name__ == "__main__":
    from jobs.stream.reference_redis import RedisReference, RedisReferenceSettings
    from models.features.catalogue import STORE
    from models.scoring.core_settings import CoreSettings
    from tests.recorded import plain_loop

    stream, shards, redis_url = pickle.loads(Path(sys.argv[1]).read_bytes())
    reference = RedisReference.connect(redis_url, RedisReferenceSettings(budget_seconds=1.0))
    run = plain_loop(stream, (500,), CoreSettings(shards=shards, store=STORE), reference=reference)
    reference.close()
    Path(sys.argv[2]).write_bytes(pickle.dumps(run.decisions))
