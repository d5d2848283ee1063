"""One KRaft Kafka node, broker and controller in one JVM, that can be killed and restarted on the same data."""

import base64
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local import processes
from deploy.local.errors import ServiceNotReadyError
from deploy.local.jars import Jars
from deploy.local.processes import OwnedProcess
from deploy.local.tools import failure_options, find_java, heap_options, quick_compiler

READY_SECONDS = 150.0  # 3 s on an idle 2-core machine; far more where every core is taken, and the log is recovered
LOG4J = Path(__file__).with_name("log4j2.properties")
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

# Internal topics have one partition each: one broker gains nothing from fifty, and they cost start-up time.
# transaction.max.timeout.ms is Kafka's own default of 15 minutes: the job's transaction timeout must stay below it.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners={listeners}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,DETOUR:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
num.network.threads=2
num.io.threads=4
message.max.bytes={max_message_bytes}
replica.fetch.max.bytes={max_message_bytes}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
transaction.max.timeout.ms=900000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.retention.hours=168
log.cleaner.backoff.ms=5000
"""


@dataclass(frozen=True)
class Broker:
    """Where one broker lives; starting it twice on the same folder continues its data.

    Attributes
    ----------
    folder
        Holds ``data/`` and ``server.properties``.
    logs
        Folder of its output.
    port
        Port of clients; the same for the broker's life, since clients hold on to it.
    controller_port
        Port of the controller in the same process.
    heap_megabytes
        Java heap. The page cache does the real work.
    quick_start
        For a broker of minutes: see `quick_compiler`.
    detour_port, detour_advertised
        Port of a second listener, and the port that its clients are told to connect to: that of a proxy in between.
    """

    folder: Path
    logs: Path
    port: int
    controller_port: int
    heap_megabytes: int = 768
    quick_start: bool = False
    detour_port: int | None = None
    detour_advertised: int | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self.port}"

    def start(self, jars: Jars) -> OwnedProcess:
        """Format the data folder if it is new, start the node and wait until it answers."""
        java = find_java()
        properties = self._write_properties()
        class_path = f"{jars.kafka}/*"
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(java, class_path, properties)
        process = processes.start(
            "broker",
            [
                str(java),
                f"-Xms{self.heap_megabytes}m",
                f"-Xmx{self.heap_megabytes}m",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:+ExplicitGCInvokesConcurrent",
                *heap_options(self.quick_start),
                *failure_options(self.logs, "broker"),
                *(quick_compiler() if self.quick_start else []),
                "-Djava.awt.headless=true",
                f"-Dlog4j2.configurationFile={LOG4J}",
                f"-Dweir.log.file={self.logs / 'broker.log'}",
                "-cp",
                class_path,
                "kafka.Kafka",
                str(properties),
            ],
            self.logs / "broker.out",
        )
        processes.wait_until_ready(process, self.answers, READY_SECONDS)
        return process

    def answers(self) -> bool:
        """Whether the broker serves metadata."""
        if not processes.answers(self.port):
            return False
        # log_level 0 silences the client's own complaints about a broker that is still on its way up
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            return bool(client.list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False

    def _write_properties(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "server.properties"
        ports = {"PLAINTEXT": (self.port, self.port), "CONTROLLER": (self.controller_port, self.controller_port)}
        if self.detour_port and self.detour_advertised:
            ports["DETOUR"] = (self.detour_port, self.detour_advertised)
        path.write_text(
            PROPERTIES.format(
                listeners=",".join(f"{name}://127.0.0.1:{port}" for name, (port, _) in ports.items()),
                advertised=",".join(f"{name}://127.0.0.1:{port}" for name, (_, port) in ports.items()),
                controller_port=self.controller_port,
                data=self.folder / "data",
                max_message_bytes=MAX_MESSAGE_BYTES,
            )
        )
        return path

    def _format(self, java: Path, class_path: str, properties: Path) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            [
                str(java),
                *quick_compiler(),
                f"-Dlog4j2.configurationFile={LOG4J}",
                f"-Dweir.log.file={self.logs / 'broker.log'}",
                "-cp",
                class_path,
                "kafka.tools.StorageTool",
                "format",
                "--standalone",
                f"--cluster-id={cluster_id}",  # in one word: an id that begins with a dash looks like an option
                "-c",
                str(properties),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ),
        )
        if done.returncode:
            raise ServiceNotReadyError(
                f"the broker's data folder {self.folder / 'data'} could not be formatted; remove it and start again:\n"
                f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
