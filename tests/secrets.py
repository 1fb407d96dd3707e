"""Whether a run has left a secret anywhere but where secrets are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from confluent_kafka import Message

from infra.local.plan import Plan
from operations.audit.log import Log
from runtime.settings import Settings
from streams.kafka import clients
from streams.kafka.topics import TOPICS

HOMES = ("credentials", "secrets", "stack.json", "kafka/server.properties", "minio/.minio.sys/config/iam")
"""Below a stack's folder: files of mode 0600 for whoever must know, and what the store itself keeps of its users."""


HOLLOW = (".index", ".timeindex")
"""Numbers in Kafka's log, a gigabyte set aside for them."""


def leaks(folder: Path, texts: Mapping[str, bytes], secrets: Iterable[str]) -> list[str]:
    """Which files of a run, and which of the named texts, hold a secret. Never says which secret."""
    wanted = [secret.encode() for secret in secrets if secret]
    assert wanted, "no secret to look for"
    found = [str(path) for path in files(folder) if holds(content(path), wanted)]
    return found + [name for name, text in texts.items() if holds(text, wanted)]


def files(folder: Path) -> Iterator[Path]:
    homes = [folder / home for home in HOMES]
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in HOLLOW and not any(path.is_relative_to(home) for home in homes):
            yield path


def content(path: Path) -> bytes:
    """A file of a running line may go while it is looked for."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def holds(text: bytes, secrets: Iterable[bytes]) -> bool:
    return any(secret in text for secret in secrets)


def secrets_of(folder: Path) -> list[str]:
    """Every secret of the stack in this folder."""
    kept = [path.read_text() for path in sorted((folder / "secrets").glob("*/latentline_*"))]
    return [Plan.load(folder).credentials.secret_key, *kept]


def records(settings: Settings) -> dict[str, bytes]:
    """Everything that was committed in each topic, headers too, by topic. `settings`: of who may read all of it."""
    with Log(settings) as log:
        return {topic.name: b"\n".join(map(record, log.read(topic))) for topic in TOPICS}


def record(message: Message) -> bytes:
    headers = [text for pair in clients.headers_of(message) for text in (pair[0].encode(), pair[1])]
    return b"\n".join([message.key() or b"", message.value() or b"", *headers])


def command_lines(folder: Path) -> dict[str, bytes]:
    """Of the processes that belong to the stack in this folder."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            named = {str(folder), str(folder.resolve())}
            if any(name in text for name in named for text in (*process.cmdline(), *process.environ().values())):
                found[f"process {process.name()} {process.pid}"] = "\0".join(process.cmdline()).encode()
    return found
