"""The embedded stack: Kafka, Flink and Redis as child processes on free loopback ports, under one folder.

``LocalStack(home)`` can be made by any process at any time: what runs is written in ``<home>/stack.json``, so that the
process which stops the stack need not be the one that started it.
"""

import contextlib
import json
import logging
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local import processes
from deploy.local.broker import Broker
from deploy.local.errors import StackError
from deploy.local.flink import REPOSITORY, FlinkCluster, FlinkMemory
from deploy.local.jars import Jars, fetch_jars, say_nothing
from deploy.local.processes import OwnedProcess
from deploy.local.redis import RedisServer
from deploy.local.side_service import SideService
from deploy.local.submit import FlinkRest, submit_job
from deploy.local.topics import create_topics
from deploy.local.zookeeper import SESSION_SECONDS, ZooKeeper

logger = logging.getLogger(__name__)

HOME = REPOSITORY / ".weir"
STOP_SECONDS = 20.0  # the broker closes its logs in 1-2 s and Flink ends in 1 s; the rest is for a busy machine


@dataclass(frozen=True)
class StackOptions:
    """What to start, and how large.

    Attributes
    ----------
    taskmanagers
        Number of TaskManagers, each of one slot.
    with_kafka, with_flink, with_redis
        Which services to start.
    topics
        Whether to make Weir's topics on the broker.
    topic_prefix
        Prefix of their names.
    partitions
        Partition counts by topic, where they differ from the usual ones.
    checkpoint_interval_seconds, buffer_timeout_ms, flink_memory, flink_options
        See `FlinkCluster`.
    broker_heap_megabytes
        Java heap of the broker.
    quick_start
        For a stack of minutes: its JVMs are at their best sooner, and their best is less (`quick_compiler`).
    services
        Side services to start, by name: text, vision, multimodal.
    service_settings
        ``WEIR_SERVICE_...`` variables of all of them.
    high_availability
        Whether jobs outlive the JobManager: a ZooKeeper beside it remembers them, for as long as the stack is up.
    keeper
        Whether TaskManagers that end by themselves are started again (`deploy.local.keeper`). Who kills them on purpose
        starts them again too, and leaves it out.
    detour_port
        Port of a proxy that clients of the broker's second listener are sent to (see `LocalStack.detour_target`); None
        for a broker with one listener.
    """

    taskmanagers: int = 2
    with_kafka: bool = True
    with_flink: bool = True
    with_redis: bool = True
    topics: bool = True
    topic_prefix: str = "weir."
    partitions: Mapping[str, int] = field(default_factory=dict)
    checkpoint_interval_seconds: float = 2.0
    buffer_timeout_ms: int = 5
    flink_memory: FlinkMemory = field(default_factory=FlinkMemory)
    flink_options: Mapping[str, str] = field(default_factory=dict)
    broker_heap_megabytes: int = 768
    quick_start: bool = False
    services: Sequence[str] = ()
    service_settings: Mapping[str, str] = field(default_factory=dict)
    high_availability: bool = False
    keeper: bool = False
    detour_port: int | None = None


class LocalStack:
    """Kafka, Flink and Redis of one folder.

    Parameters
    ----------
    home
        Folder of everything the stack writes. Default: ``.weir`` beside the code.
    options
        What to start; needed by `up` only.
    jars_folder
        Where the fetched jars are kept. Default: ``.weir/jars`` beside the code, so that a stack in a temporary folder
        fetches nothing.
    progress
        Called with one short line a step.

    Examples
    --------
    >>> stack = LocalStack(Path("/tmp/somewhere"))  # doctest: +SKIP
    >>> with stack:  # doctest: +SKIP
    ...     print(stack.bootstrap_servers)
    127.0.0.1:41233
    """

    def __init__(
        self,
        home: Path | None = None,
        options: StackOptions | None = None,
        jars_folder: Path | None = None,
        progress: Callable[[str], None] = say_nothing,
    ) -> None:
        self.home = (home or HOME).resolve()
        self.options = options or StackOptions()
        self.jars_folder = jars_folder or HOME / "jars"
        self._progress = progress
        self._lock = threading.Lock()  # the services start side by side and share one state file

    # -- where things are -------------------------------------------------------------------------------------------

    @property
    def state_file(self) -> Path:
        """What runs, and where."""
        return self.home / "stack.json"

    @property
    def logs(self) -> Path:
        """Folder of every process's output."""
        return self.home / "logs"

    @property
    def bootstrap_servers(self) -> str:
        """Address of Kafka."""
        return str(self._address("bootstrap_servers"))

    @property
    def flink_rest_url(self) -> str:
        """Address of Flink's REST interface."""
        return str(self._address("flink_rest_url"))

    @property
    def redis_url(self) -> str:
        """Address of Redis."""
        return str(self._address("redis_url"))

    def service_url(self, name: str) -> str:
        """Address of a side service."""
        services = self._read().get("services", {})
        if name not in services:
            raise StackError(
                f"the stack in {self.home} has no service {name!r}: start it with 'weir up --service {name}'"
            )
        return f"http://127.0.0.1:{services[name]}"

    @property
    def detour_target(self) -> int:
        """Port of the broker's second listener: where a proxy at `StackOptions.detour_port` sends what it gets."""
        return int(self._address("ports")["detour"])

    @property
    def flink(self) -> FlinkCluster:
        """The cluster's folders and environment, for submitting jobs."""
        return self._cluster(self._read())

    def processes(self) -> list[OwnedProcess]:
        """Every process that the stack started and has not stopped, alive or not."""
        return [OwnedProcess(**record) for record in self._read().get("processes", [])]

    def process(self, name: str) -> OwnedProcess:
        """The process of that name."""
        for process in self.processes():
            if process.name == name:
                return process
        raise StackError(f"the stack in {self.home} has no process {name!r}: start it with 'weir up'")

    # -- up and down ------------------------------------------------------------------------------------------------

    def __enter__(self) -> "LocalStack":
        self.up()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.down()

    def up(self) -> dict[str, Any]:
        """Start what is not running, and return the content of stack.json.

        A stack that runs in full is left as it is; a half of one (after a crash, or a kill) is stopped and started
        anew on
        the same data. If anything fails to start, what was started is stopped again.
        """
        state = self._read()
        if state and state.get("complete") and all(process.is_alive() for process in self.processes()):
            return state
        if state:
            self.down()
        jars = fetch_jars(self.jars_folder, self._progress)
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            return self._start(jars)
        except BaseException:
            self.down()
            raise

    def _start(self, jars: Jars) -> dict[str, Any]:
        options = self.options
        ports = dict(zip(_PORTS, processes.free_ports(len(_PORTS)), strict=True))
        state: dict[str, Any] = {"home": str(self.home), "ports": ports, "jars": str(jars.folder), "processes": []}
        state["detour_port"] = options.detour_port
        state["flink_settings"] = {
            "checkpoint_interval_seconds": options.checkpoint_interval_seconds,
            "buffer_timeout_ms": options.buffer_timeout_ms,
            "memory": vars(options.flink_memory),
            "options": {**self._high_availability(ports), **options.flink_options},
            "quick_start": options.quick_start,
        }
        state["service_settings"] = dict(options.service_settings)
        state["services"] = dict(zip(options.services, processes.free_ports(len(options.services)), strict=True))
        self._write(state)

        # Everything starts side by side: each waits mostly for its JVM, and the whole takes as long as the slowest.
        with ThreadPoolExecutor(max_workers=3 + len(options.services)) as pool:
            waiting: list[Future[Any]] = []
            if options.with_redis:
                waiting.append(pool.submit(self._start_redis, state))
            if options.with_flink:
                waiting.append(pool.submit(self._start_flink, state, jars))
            if options.with_kafka:
                waiting.append(pool.submit(self._start_kafka, state, jars))
            waiting += [pool.submit(self._start_service, state, name) for name in options.services]
            failures = [error for error in (future.exception() for future in waiting) if error]
        if failures:
            raise failures[0]
        state["complete"] = True
        self._write(state)
        if options.with_flink and options.keeper:
            self._record(state, self._start_keeper())
        self._progress("the stack is up")
        return state

    def _start_redis(self, state: dict[str, Any]) -> None:
        redis = self._redis(state)
        self._record(state, redis.start())
        self._note(state, "redis_url", redis.url)
        self._progress(f"Redis is ready at {redis.url}")

    def _start_service(self, state: dict[str, Any], name: str) -> OwnedProcess:
        service = SideService(name, self.logs, state["services"][name], state["service_settings"])
        process = service.start()
        self._record(state, process)
        self._progress(f"the service {name} is ready at {service.url}")
        return process

    def _start_kafka(self, state: dict[str, Any], jars: Jars) -> None:
        broker = self._broker(state)
        self._record(state, broker.start(jars))
        self._note(state, "bootstrap_servers", broker.bootstrap_servers)
        self._progress(f"Kafka is ready at {broker.bootstrap_servers}")
        if self.options.topics:
            properties = {"bootstrap.servers": broker.bootstrap_servers}
            made = create_topics(properties, self.options.topic_prefix, self.options.partitions)
            self._progress(f"{len(made)} topics made" if made else "the topics were there")

    def _start_flink(self, state: dict[str, Any], jars: Jars) -> None:
        cluster = self._cluster(state)
        cluster.prepare(jars)
        if self.options.high_availability:
            port = state["ports"]["zookeeper"]
            zookeeper = ZooKeeper(self.home / "data" / "zookeeper", self.logs, port, cluster.folder / "lib")
            self._record(state, zookeeper.start())
        # TaskManagers look for the JobManager until they find it, so all JVMs can start at the same time.
        started = [self._launch_taskmanager(state, cluster, index) for index in range(self.options.taskmanagers)]
        self._record(state, cluster.start_jobmanager())
        self._note(state, "flink_rest_url", cluster.rest_url)
        for process, resource_id in started:
            cluster.wait_for_taskmanager(process, resource_id)
        self._progress(f"Flink is ready at {cluster.rest_url} with {len(started)} TaskManagers")

    def down(self, delete_data: bool = False) -> list[str]:
        """Stop exactly the processes that stack.json names, and remove what they leave.

        Kafka's data, checkpoints, logs, jars and caches stay, unless `delete_data` (which keeps jars and caches). The
        names of the stopped processes are returned. Stopping a stack that is not there does nothing.
        """
        # Before anything is looked at: the keeper may be starting a TaskManager.
        keepers = [process for process in self.processes() if process.name == "keeper" and process.is_alive()]
        processes.stop_all(keepers, STOP_SECONDS)
        running = [process for process in self.processes() if process.is_alive()]
        # Flink first: a TaskManager that lost its broker would spend its last seconds on retries.
        flink = [process for process in running if process.name.startswith(("taskmanager", "jobmanager"))]
        others = [process for process in running if process not in flink]
        processes.stop_all(flink, STOP_SECONDS)
        processes.stop_all(others, STOP_SECONDS)
        self.state_file.unlink(missing_ok=True)
        for leftover in ("flink/conf", "flink/lib", "flink/tmp"):
            shutil.rmtree(self.home / leftover, ignore_errors=True)
        if delete_data:
            for part in ("data", "flink", "logs"):
                shutil.rmtree(self.home / part, ignore_errors=True)
        return [process.name for process in keepers + running]

    def status(self) -> dict[str, Any]:
        """Addresses, and for each process whether it lives."""
        state = self._read()
        shown = {key: state.get(key) for key in ("bootstrap_servers", "flink_rest_url", "redis_url")}
        alive = [{**process.as_record(), "alive": process.is_alive()} for process in self.processes()]
        return {
            **shown,
            "services": {name: f"http://127.0.0.1:{port}" for name, port in state.get("services", {}).items()},
            "home": str(self.home),
            "processes": alive,
            "is_up": bool(state.get("complete")) and all(process["alive"] for process in alive),
        }

    def adopt(self, process: OwnedProcess) -> None:
        """Write a process down that was started for this stack by somebody else: `down` ends it with the others."""
        self._record(self._read(), process)

    # -- jobs -------------------------------------------------------------------------------------------------------

    @property
    def rest(self) -> FlinkRest:
        """Flink's REST interface."""
        return FlinkRest(self.flink_rest_url)

    def submit(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        options: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        savepoint: str | None = None,
        wait_seconds: float = 120.0,
    ) -> str:
        """Submit a Python job, wait until all its tasks run, and return its id.

        The job finds the stack's addresses in its environment (``WEIR_BOOTSTRAP_SERVERS``, ``WEIR_REDIS_URL``,
        ``WEIR_FLINK_REST_URL``), and with them what `environment` adds or changes. `wait_seconds` of 0 returns as soon
        as the cluster has taken it.
        """
        state = self._read()
        addresses = {key: state.get(key) for key in ("bootstrap_servers", "flink_rest_url", "redis_url")}
        job_id = submit_job(
            self.flink_rest_url,
            module,
            arguments,
            jars=Jars(Path(state["jars"])),
            work_folder=self.logs,
            options={**self.flink.job_options(), **(options or {})},
            savepoint=savepoint,
            environment={
                **{f"WEIR_{key.upper()}": str(value) for key, value in addresses.items() if value},
                **(environment or {}),
            },
        )
        if wait_seconds:
            self.rest.wait_until_running(job_id, wait_seconds)
        return job_id

    # -- faults -----------------------------------------------------------------------------------------------------

    def kill_taskmanager(self, index: int) -> None:
        """SIGKILL one TaskManager; Flink notices after its heartbeat timeout."""
        self.process(f"taskmanager-{index}").kill()

    def start_taskmanager(self, index: int) -> OwnedProcess:
        """Start a TaskManager (a killed one again, or one more), and wait until it has registered."""
        state = self._read()
        if any(process.name == f"taskmanager-{index}" and process.is_alive() for process in self.processes()):
            raise StackError(f"taskmanager-{index} is running already")
        process, resource_id = self._launch_taskmanager(state, self._cluster(state), index)
        self._cluster(state).wait_for_taskmanager(process, resource_id)
        return process

    def kill_jobmanager(self) -> None:
        """SIGKILL the JobManager; without `high_availability` its jobs are gone."""
        self.process("jobmanager").kill()

    def start_jobmanager(self) -> OwnedProcess:
        """Start the JobManager again on the same ports, and wait for its REST interface."""
        state = self._read()
        if self.process("jobmanager").is_alive():
            raise StackError("the jobmanager is running already")
        process = self._cluster(state).start_jobmanager()
        self._record(state, process)
        return process

    def kill_service(self, name: str) -> None:
        """SIGKILL a side service: connections end without an answer."""
        self.process(f"service-{name}").kill()

    def start_service(self, name: str) -> OwnedProcess:
        """Start a side service (a killed one again on its port, or one more), and wait until it is ready."""
        state = self._read()
        if not state:
            raise StackError(f"the stack in {self.home} is not running: start it with 'weir up'")
        if any(process.name == f"service-{name}" and process.is_alive() for process in self.processes()):
            raise StackError(f"the service {name} is running already")
        state.setdefault("service_settings", {})
        if name not in state.setdefault("services", {}):
            state["services"][name] = processes.free_ports(1)[0]
        return self._start_service(state, name)

    def kill_broker(self) -> None:
        """SIGKILL the broker: no goodbye to clients, no flush beyond what the system has already."""
        self.process("broker").kill()

    def stop_broker(self) -> None:
        """Stop the broker in good order."""
        processes.stop_all([self.process("broker")], STOP_SECONDS)

    def restart_broker(self) -> OwnedProcess:
        """Start the broker again on the same port and data, stopping it first if it runs."""
        state = self._read()
        self.stop_broker()
        process = self._broker(state).start(Jars(Path(state["jars"])))
        self._record(state, process)
        return process

    def kill_redis(self) -> None:
        """SIGKILL Redis; what it held is gone."""
        self.process("redis").kill()

    def start_redis(self) -> OwnedProcess:
        """Start Redis again on the same port, empty."""
        state = self._read()
        if self.process("redis").is_alive():
            raise StackError("redis is running already")
        process = self._redis(state).start()
        self._record(state, process)
        return process

    def pause(self, name: str) -> None:
        """SIGSTOP a process: it keeps its connections and answers nothing."""
        self.process(name).send(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT a paused process."""
        self.process(name).send(signal.SIGCONT)

    def _high_availability(self, ports: Mapping[str, int]) -> dict[str, str]:
        if not self.options.high_availability:
            return {}
        return {
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": f"127.0.0.1:{ports['zookeeper']}",
            "high-availability.storageDir": (self.home / "flink" / "tmp" / "jobs").as_uri(),
            "high-availability.cluster-id": "/weir",
            "high-availability.jobmanager.port": str(ports["rpc"]),
            "high-availability.zookeeper.client.session-timeout": f"{SESSION_SECONDS} s",
            "high-availability.zookeeper.client.connection-timeout": f"{SESSION_SECONDS} s",
        }

    # -- inside -----------------------------------------------------------------------------------------------------

    def _start_keeper(self) -> OwnedProcess:
        command = [sys.executable, "-m", "deploy.local.keeper", str(self.home)]
        return processes.start("keeper", command, self.logs / "keeper.out", folder=REPOSITORY)

    def _redis(self, state: Mapping[str, Any]) -> RedisServer:
        return RedisServer(self.home / "data" / "redis", self.logs, state["ports"]["redis"])

    def _broker(self, state: Mapping[str, Any]) -> Broker:
        ports = state["ports"]
        return Broker(
            self.home / "data" / "kafka",
            self.logs,
            ports["kafka"],
            ports["controller"],
            heap_megabytes=self.options.broker_heap_megabytes,
            quick_start=self.options.quick_start,
            detour_port=ports["detour"],
            detour_advertised=state.get("detour_port"),
        )

    def _cluster(self, state: Mapping[str, Any]) -> FlinkCluster:
        ports, settings = state["ports"], state["flink_settings"]
        return FlinkCluster(
            self.home / "flink",
            self.logs,
            rest_port=ports["rest"],
            rpc_port=ports["rpc"],
            blob_port=ports["blob"],
            cache=HOME / "cache",
            checkpoint_interval_seconds=settings["checkpoint_interval_seconds"],
            buffer_timeout_ms=settings["buffer_timeout_ms"],
            memory=FlinkMemory(**settings["memory"]),
            options=settings["options"],
            quick_start=settings["quick_start"],
        )

    def _launch_taskmanager(self, state: dict[str, Any], cluster: FlinkCluster, index: int) -> tuple[OwnedProcess, str]:
        resource_id = f"taskmanager-{index}-{uuid.uuid4().hex[:8]}"
        process = cluster.launch_taskmanager(f"taskmanager-{index}", resource_id)
        self._record(state, process)
        return process, resource_id

    def _record(self, state: dict[str, Any], process: OwnedProcess) -> None:
        """Write a started process down at once, so that even a start that is cut off can be cleaned up."""
        with self._lock:
            # As it stands in the file: the keeper writes there too.
            known = self._read().get("processes", state["processes"])
            others = [record for record in known if record["name"] != process.name]
            state["processes"] = sorted([*others, process.as_record()], key=lambda record: str(record["name"]))
            self._write(state)

    def _note(self, state: dict[str, Any], key: str, value: str) -> None:
        with self._lock:
            state[key] = value
            self._write(state)

    def _address(self, key: str) -> Any:
        value = self._read().get(key)
        if value is None:
            raise StackError(f"the stack in {self.home} is not running: start it with 'weir up'")
        return value

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            state: dict[str, Any] = json.loads(self.state_file.read_text())
            return state
        return {}

    def _write(self, state: Mapping[str, Any]) -> None:
        temporary = self.state_file.with_suffix(".json.new")
        temporary.write_text(json.dumps(state, indent=2) + "\n")
        temporary.replace(self.state_file)


_PORTS = ("kafka", "controller", "rest", "rpc", "blob", "redis", "zookeeper", "detour")
