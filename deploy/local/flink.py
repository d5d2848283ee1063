"""A Flink cluster of real processes: one JobManager and TaskManagers of one slot each, from the apache-flink wheel.

The JVMs are started directly and not by the wheel's scripts, so that each is our own child with a pid that we know; the
scripts would also spend two seconds a process on working out the memory that is written out here.

One slot a TaskManager, because thread mode runs Python inside the JVM with one interpreter lock for all slots of a
process.
"""

import importlib.util
import json
import os
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.jars import Jars
from deploy.local.processes import OwnedProcess
from deploy.local.tools import failure_options, find_java, heap_options, quick_compiler

REPOSITORY = Path(__file__).resolve().parents[2]
LOG4J = Path(__file__).with_name("log4j2.properties")
READY_SECONDS = 90.0  # 4 s on an idle 2-core machine; a loaded one starts JVMs ten times slower

# What Flink, Arrow and pemja reach into; the same list as env.java.opts.all of the wheel's conf/config.yaml.
JAVA_OPENS = (
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    *(
        f"--add-exports=jdk.compiler/com.sun.tools.javac.{name}=ALL-UNNAMED"
        for name in ("api", "file", "parser", "tree", "util")
    ),
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{name}=ALL-UNNAMED"
        for name in (
            "java.lang",
            "java.net",
            "java.io",
            "java.nio",
            "sun.nio.ch",
            "java.lang.reflect",
            "java.text",
            "java.time",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "java.util.concurrent.locks",
        )
    ),
)


@dataclass(frozen=True)
class FlinkMemory:
    """Memory of the JVMs in MiB. Python's arrays (the feature store) live beside the heap, uncounted."""

    jobmanager_heap: int = 640
    task_heap: int = 1408
    framework_heap: int = 128
    network: int = 128
    task_off_heap: int = 64
    framework_off_heap: int = 128
    managed: int = 64  # the hashmap state backend takes none; kept for an operator in process mode
    metaspace: int = 384
    overhead: int = 256

    @property
    def taskmanager_heap(self) -> int:
        """-Xmx of a TaskManager."""
        return self.task_heap + self.framework_heap

    @property
    def taskmanager_direct(self) -> int:
        """-XX:MaxDirectMemorySize of a TaskManager."""
        return self.framework_off_heap + self.task_off_heap + self.network


@dataclass(frozen=True)
class FlinkCluster:
    """Where one cluster lives.

    Attributes
    ----------
    folder
        Holds ``conf/``, ``lib/``, ``tmp/`` and ``checkpoints/``.
    logs
        Folder of its output.
    rest_port, rpc_port, blob_port
        Loopback ports of the JobManager; TaskManagers take any free ones.
    checkpoint_interval_seconds
        Default for jobs that do not set their own.
    buffer_timeout_ms
        How long a record may wait in a network buffer for company.
    memory
        Sizes of the JVMs.
    options
        Further Flink options, which win over the ones made here.
    quick_start
        For TaskManagers of minutes: see `quick_compiler`.
    """

    folder: Path
    logs: Path
    rest_port: int
    rpc_port: int
    blob_port: int
    cache: Path
    checkpoint_interval_seconds: float = 2.0
    buffer_timeout_ms: int = 5
    memory: FlinkMemory = field(default_factory=FlinkMemory)
    options: Mapping[str, str] = field(default_factory=dict)
    quick_start: bool = False

    @property
    def rest_url(self) -> str:
        """Address of the REST interface."""
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def conf(self) -> Path:
        """FLINK_CONF_DIR of every process and of the submitting client."""
        return self.folder / "conf"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints and savepoints."""
        return self.folder / "checkpoints"

    def prepare(self, jars: Jars) -> None:
        """Write the configuration and the library folder."""
        for part in (self.conf, self.folder / "tmp", self.checkpoints, self.cache / "numba"):
            part.mkdir(parents=True, exist_ok=True)
        options = self.flink_options()
        # JSON strings are YAML strings, so that nothing in a path or an option needs quoting rules of its own
        (self.conf / "config.yaml").write_text(
            "".join(f"{key}: {json.dumps(options[key])}\n" for key in sorted(options))
        )
        (self.conf / "log4j2.properties").write_text(LOG4J.read_text())
        link_libraries(self.folder / "lib", jars)

    def flink_options(self) -> dict[str, str]:
        """Content of config.yaml."""
        memory = self.memory
        made = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": str(self.rpc_port),
            "jobmanager.bind-host": "127.0.0.1",
            "blob.server.port": str(self.blob_port),
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": str(self.rest_port),
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": "1",
            "io.tmp.dirs": str(self.folder / "tmp"),
            # A killed TaskManager is noticed after 5 s and not after 50; the interval must leave room for lost beats.
            "heartbeat.interval": "1 s",
            "heartbeat.timeout": "5 s",
            **self.job_options(),
            "python.execution-mode": "thread",
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            # flink-python lies on the cluster's own class path: its native interpreter can be loaded by one loader
            # only.
            "classloader.parent-first-patterns.additional": "pemja.",
            "classloader.check-leaked-classloader": "false",
            "taskmanager.cpu.cores": "1.0",
            "taskmanager.memory.framework.heap.size": f"{memory.framework_heap}m",
            "taskmanager.memory.task.heap.size": f"{memory.task_heap}m",
            "taskmanager.memory.framework.off-heap.size": f"{memory.framework_off_heap}m",
            "taskmanager.memory.task.off-heap.size": f"{memory.task_off_heap}m",
            "taskmanager.memory.network.min": f"{memory.network}m",
            "taskmanager.memory.network.max": f"{memory.network}m",
            # A channel has ten buffers, and this cannot be set. While the ledger's sink waits for the broker at a
            # checkpoint, the decisions of half a second must find room, or the stages before it wait as well.
            "taskmanager.memory.segment-size": "256kb",
            # And no more room than for what a stage does in 50 ms of work, which is seconds for a sink that is seldom
            # busy: small micro-batches would queue there by the second when the cores are short, where those that wait
            # before the micro-batch become larger ones, and cheaper.
            "taskmanager.network.memory.buffer-debloat.enabled": "true",
            "taskmanager.network.memory.buffer-debloat.target": "50 ms",
            "taskmanager.memory.managed.size": f"{memory.managed}m",
            "taskmanager.memory.jvm-metaspace.size": f"{memory.metaspace}m",
            # Only shown in the web interface, yet a TaskManager refuses to start unless both are set and equal.
            "taskmanager.memory.jvm-overhead.min": f"{memory.overhead}m",
            "taskmanager.memory.jvm-overhead.max": f"{memory.overhead}m",
            "jobmanager.memory.heap.size": f"{memory.jobmanager_heap}m",
            "env.java.opts.all": " ".join(JAVA_OPENS),
        }
        return {**made, **self.options}

    def job_options(self) -> dict[str, str]:
        """Options that Flink takes from the submitting client, and not from the cluster, for every job."""
        return {
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "500 ms",
            "restart-strategy.exponential-delay.max-backoff": "10 s",
            "restart-strategy.exponential-delay.reset-backoff-threshold": "1 min",
            "state.backend.type": "hashmap",
            # A checkpoint saves what has changed since the one before, from a log; the whole state is saved now and
            # then (a job says how often). To save it whole every 2 s takes memory and cores from the stream.
            "state.changelog.enabled": "true",
            "state.changelog.storage": "filesystem",
            "state.changelog.dstl.dfs.base-path": (self.checkpoints / "changelog").as_uri(),
            # The default storage keeps checkpoints in the JobManager's memory and refuses more than 5 MB of state.
            "execution.checkpointing.storage": "filesystem",
            "execution.checkpointing.dir": self.checkpoints.as_uri(),
            "execution.checkpointing.savepoint-dir": self.checkpoints.as_uri(),
            "execution.checkpointing.interval": f"{round(self.checkpoint_interval_seconds * 1000)} ms",
            "execution.checkpointing.mode": "EXACTLY_ONCE",
            "execution.checkpointing.timeout": "2 min",
            "execution.checkpointing.tolerable-failed-checkpoints": "5",
            "execution.buffer-timeout.interval": f"{self.buffer_timeout_ms} ms",
            "pipeline.object-reuse": "true",
        }

    def start_jobmanager(self) -> OwnedProcess:
        """Start the JobManager and wait for its REST interface."""
        heap = self.memory.jobmanager_heap
        process = processes.start(
            "jobmanager",
            [
                # It only coordinates: what a second compilation would save is less than what it costs.
                *self._java("jobmanager", [f"-Xms{heap}m", f"-Xmx{heap}m", "-XX:+UseSerialGC", *quick_compiler()]),
                "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
                "--configDir",
                str(self.conf),
                "--executionMode",
                "cluster",
            ],
            self.logs / "jobmanager.out",
            self.environment(),
            REPOSITORY,
        )
        processes.wait_until_ready(process, lambda: self._get("/overview") is not None, READY_SECONDS)
        return process

    def launch_taskmanager(self, name: str, resource_id: str) -> OwnedProcess:
        """Start one TaskManager without waiting for its registration.

        Parameters
        ----------
        name
            Name of the process and of its log.
        resource_id
            Its name in Flink: new at every start, so that the JobManager never takes it for its dead predecessor.
        """
        heap = self.memory.taskmanager_heap
        collector = ["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
        return processes.start(
            name,
            [
                *self._java(
                    name,
                    [
                        f"-Xms{heap}m",
                        f"-Xmx{heap}m",
                        f"-XX:MaxDirectMemorySize={self.memory.taskmanager_direct}m",
                        f"-XX:MaxMetaspaceSize={self.memory.metaspace}m",
                        *collector,
                        *heap_options(self.quick_start),
                        *(quick_compiler() if self.quick_start else []),
                    ],
                ),
                "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                "--configDir",
                str(self.conf),
                f"-Dtaskmanager.resource-id={resource_id}",
            ],
            self.logs / f"{name}.out",
            self.environment(),
            REPOSITORY,
        )

    def wait_for_taskmanager(self, process: OwnedProcess, resource_id: str) -> None:
        """Wait until the TaskManager of that resource id has registered and offers its slot.

        The number of slots would not tell: a dead TaskManager's slot is counted until its heartbeat times out.
        """

        def has_registered() -> bool:
            known = (self._get("/taskmanagers") or {}).get("taskmanagers", [])
            return any(found["id"] == resource_id and found["slotsNumber"] > 0 for found in known)

        processes.wait_until_ready(process, has_registered, READY_SECONDS)

    def environment(self) -> dict[str, str]:
        """Environment of the cluster's processes and of the submitting client."""
        return flink_environment(self.conf, self.folder / "lib", self.cache, self.logs)

    def _java(self, name: str, sizes: list[str]) -> list[str]:
        return [
            str(find_java()),
            *sizes,
            *failure_options(self.logs, name),
            "-XX:+IgnoreUnrecognizedVMOptions",
            *JAVA_OPENS,
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={self.conf / 'log4j2.properties'}",
            f"-Dweir.log.file={self.logs / name}.log",
            f"-Dlog.file={self.logs / name}.log",  # the web interface shows the file that this property names
            "-cp",
            f"{self.folder / 'lib'}/*",
        ]

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(self.rest_url + path, timeout=2.0) as answer:
                content: dict[str, Any] = json.load(answer)
                return content
        except (urllib.error.URLError, TimeoutError, OSError, json.JSONDecodeError):
            return None


def flink_home() -> Path:
    """Folder of the wheel's Flink distribution, found without importing PyFlink (which takes a second)."""
    found = importlib.util.find_spec("pyflink")
    if found is None or not found.submodule_search_locations:
        raise StackError("apache-flink is not installed in this environment: run 'make setup'.")
    return Path(next(iter(found.submodule_search_locations)))


def link_libraries(folder: Path, jars: Jars) -> None:
    """Make the class path of every Flink JVM: the wheel's libraries, flink-python and the Kafka connector.

    One folder for cluster and client means that no job has to name a jar, and no class is loaded twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home = flink_home()
    wanted = [*(home / "lib").glob("*.jar"), *(home / "opt").glob("flink-python-*.jar"), *jars.flink.glob("*.jar")]
    for old in folder.iterdir():
        old.unlink()
    for jar in wanted:
        (folder / jar.name).symlink_to(jar)


def flink_environment(conf: Path, libraries: Path, cache: Path, logs: Path) -> dict[str, str]:
    """Environment for processes that run Flink, with Python inside or beside them.

    One thread for every numeric library: the stream's parallelism is the TaskManagers, and a library that starts a
    thread a core would fight them for the same cores.
    """
    # The interpreter that pemja embeds is not told of the virtual environment: it finds its libraries by the first
    # `python3` on PATH, and where that is not ours, by PYTHONPATH.
    python_path = [str(REPOSITORY), *os.environ.get("PYTHONPATH", "").split(os.pathsep), sysconfig.get_path("purelib")]
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        **os.environ,
        "PATH": os.pathsep.join(path),
        "FLINK_HOME": str(flink_home()),
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LIB_DIR": str(libraries),
        "FLINK_OPT_DIR": str(flink_home() / "opt"),
        "FLINK_PLUGINS_DIR": str(flink_home() / "plugins"),
        "FLINK_LOG_DIR": str(logs),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, python_path))),
        "POLARS_MAX_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "NUMBA_CACHE_DIR": str(cache / "numba"),
    }
