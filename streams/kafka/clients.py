"""Kafka clients of the line: every setting chosen here, each with its reason.

Roles: `worker` producers and inbox consumers, the coordinator's group consumer, readers and transactional
producer, and the plain clients of tools.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from runtime.settings import Settings
from schemas.envelope import Headers
from streams.kafka.topics import LARGEST_VALUE_BYTES

Setting = tuple[Any, str]
"""A value and the reason for it."""

COMMON: dict[str, Setting] = {
    "reconnect.backoff.ms": (50, "a restarted broker is found again at once"),
    "reconnect.backoff.max.ms": (1000, "a worker must be heard within its heartbeat age (protocol rule 7)"),
    "topic.metadata.refresh.interval.ms": (30_000, "a moved leader is noticed in seconds, not minutes"),
    "socket.keepalive.enable": (True, "a dead peer behind a silent network is noticed"),
    "log.connection.close": (False, "idle connections closed by the broker are no news"),
    "statistics.interval.ms": (5000, "a client that has lost its last broker for good is noticed at the second look"),
}

PRODUCER: dict[str, Setting] = COMMON | {
    "enable.idempotence": (True, "a retried send must not write twice"),
    "acks": ("all", "acknowledged means durable"),
    "linger.ms": (0, "batches are small: waiting only adds latency"),
    "compression.type": ("lz4", "events are JSON: three times smaller for little CPU"),
    "retry.backoff.ms": (
        5,
        "transaction calls fall back to this after CONCURRENT_TRANSACTIONS; 100 is the floor otherwise",
    ),
    "retry.backoff.max.ms": (500, "no storm while the broker is away"),
    "message.max.bytes": (
        LARGEST_VALUE_BYTES + 128 * 1024,
        "dead letters carry the largest value plus headers, measured before compression",
    ),
}

REPORTER: dict[str, Setting] = PRODUCER | {
    "message.timeout.ms": (0, "an outcome never times out: it waits for the broker (protocol rule 4)"),
}

PROGRESS: dict[str, Setting] = COMMON | {
    "acks": ("1", "progress is best effort: nobody waits for it"),
    "linger.ms": (20, "steps of many jobs share a request"),
    "compression.type": ("lz4", "events are JSON"),
    "message.timeout.ms": (5000, "stale progress is worth nothing"),
    "queue.buffering.max.messages": (10_000, "bounded memory while the broker is away"),
}

TRANSACTIONAL: dict[str, Setting] = PRODUCER | {
    "transaction.timeout.ms": (10_000, "a dead coordinator holds readers of read_committed back no longer than this"),
}

CONSUMER: dict[str, Setting] = COMMON | {
    "enable.auto.commit": (False, "offsets move with results, in one transaction, or not at all"),
    "enable.auto.offset.store": (False, "as above"),
    "isolation.level": ("read_committed", "an aborted transaction never happened"),
    "fetch.wait.max.ms": (100, "an idle fetch returns quickly, so a pause or seek takes effect quickly"),
    "fetch.queue.backoff.ms": (10, "the default of 1 s delays the next fetch after a full queue"),
    "queued.max.messages.kbytes": (16_384, "bounded memory a partition"),
    "enable.partition.eof": (True, "`read to the end` is a fact, not a timeout"),
    "allow.auto.create.topics": (False, "topics come from the table"),
}

INBOX: dict[str, Setting] = CONSUMER | {
    "auto.offset.reset": ("error", "out of range means lost tasks: the process ends and starts anew (protocol rule 1)"),
    "queued.min.messages": (1, "a task is a job of seconds: nothing to prefetch"),
}

ELECTION: dict[str, Setting] = CONSUMER | {
    "group.protocol": ("classic", "the rules of takeover are written for it (design section 8)"),
    "partition.assignment.strategy": ("cooperative-sticky", "a newcomer must not take the cell (protocol rule 16)"),
    "session.timeout.ms": (6000, "a dead coordinator is replaced within seconds; 45 s is the default"),
    "heartbeat.interval.ms": (1000, "a standby joins and leaves without holding the group up"),
    "max.poll.interval.ms": (60_000, "guards the loop, which never computes for long"),
    "auto.offset.reset": ("earliest", "the first start of a line reads every prompt"),
}

READER: dict[str, Setting] = CONSUMER | {
    "auto.offset.reset": ("earliest", "a reader that assigns a fresh topic begins at its start"),
}

ARCHIVE: dict[str, Setting] = READER | {
    "queued.min.messages": (1, "one record is wanted, not those after it"),
    "fetch.message.max.bytes": (64 * 1024, "as above; a batch that is larger comes all the same"),
}

TOOL: dict[str, Setting] = CONSUMER | {
    "auto.offset.reset": ("earliest", "a person asks for everything"),
}


UNUSED_GROUP = "latentline.unused"
COORDINATORS_GROUP = "latentline.coordinator"
"""Elects the coordinator of each cell, and holds the offsets of what it has taken in."""
SASL_MECHANISM = "SCRAM-SHA-512"

MENDED = (
    KafkaError._PARTITION_EOF,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
)


class FatalClientError(Exception):
    """librdkafka cannot go on: the process must end non-zero and start anew."""


BROKERS = ("configured", "learned")
"""Sources of what a client can ask: a group's coordinator, say, is only another name for one of them."""


@dataclass
class ErrorWatch:
    """The `error_cb` and `stats_cb` of some clients. Keeps why the first of them cannot go on, for the loop that asks.

    A broker that leaves in order, or has only begun, may answer for a moment that there is no broker at all. librdkafka
    from 2.10 on may then forget the last one and ask nobody any more, without an error (its issue 5301).
    """

    fatal: str | None = None
    refused: bool = False
    """Whether a broker did not take our name or password."""
    _without_brokers: set[str] = field(default_factory=set)
    """Clients that knew no broker at the last look."""

    def __call__(self, error: KafkaError) -> None:
        self.refused |= error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)
        if error.fatal() and self.fatal is None:
            self.fatal = str(error)

    def look(self, statistics: str) -> None:
        """At what librdkafka tells of a client. One that goes from a broker to another has until the next look."""
        said = orjson.loads(statistics)
        name = said["name"]
        if any(broker["source"] in BROKERS for broker in said["brokers"].values()):
            self._without_brokers.discard(name)
        elif name not in self._without_brokers:
            self._without_brokers.add(name)
        elif self.fatal is None:
            self.fatal = f"{name} has lost its last broker and asks nobody any more"

    def check(self) -> None:
        """Raises `FatalClientError` once a client cannot go on. Call it every turn of a loop."""
        if self.fatal is not None:
            raise FatalClientError(self.fatal)


class ThinnedLog(logging.Filter):
    """Lets one librdkafka line of a kind through every `interval` seconds: a broker away logs 20 a second."""

    def __init__(self, interval: float = 10.0) -> None:
        super().__init__()
        self.interval, self.last = interval, dict[str, float]()

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.getMessage().partition(" ")[0]
        now = time.monotonic()
        if now - self.last.get(kind, -self.interval) < self.interval:
            return False
        self.last[kind] = now
        return True


def librdkafka_logger() -> logging.Logger:
    logger = logging.getLogger("librdkafka")
    if not logger.filters:
        logger.addFilter(ThinnedLog())
    return logger


def config(
    role: dict[str, Setting], settings: Settings, watch: ErrorWatch | None = None, **more: Any
) -> dict[str, Any]:
    """librdkafka's configuration for a role. Keyword names use `_` for `.`."""
    watch = watch or ErrorWatch()
    values = {name: value for name, (value, _) in role.items()}
    values |= {
        "bootstrap.servers": settings.kafka_bootstrap,
        "client.id": "latentline",
        "error_cb": watch,
        "stats_cb": watch.look,
    }
    values |= identity(settings)
    return values | {name.replace("_", "."): value for name, value in more.items()}


def identity(settings: Settings) -> dict[str, Any]:
    """Who we are, for a broker that asks."""
    if not settings.kafka_username:
        return {}
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": SASL_MECHANISM,
        "sasl.username": settings.kafka_username,
        "sasl.password": settings.kafka_password.get_secret_value(),
    }


def producer(role: dict[str, Setting], settings: Settings, watch: ErrorWatch | None = None, **more: Any) -> Producer:
    return Producer(config(role, settings, watch, **more), logger=librdkafka_logger())


def consumer(role: dict[str, Setting], settings: Settings, watch: ErrorWatch | None = None, **more: Any) -> Consumer:
    """A consumer; without `group_id` it gets one that never commits, for use with `assign`."""
    more.setdefault("group_id", f"{settings.topic_prefix}{UNUSED_GROUP}")
    return Consumer(config(role, settings, watch, **more), logger=librdkafka_logger())


HEADERS = methodcaller("headers")
"""Kafka takes any bytes as a name. For one that is no UTF-8 confluent-kafka 2.16 puts a null pointer into the list and
leaves the error to be found: `PyObject_Call` finds it, the interpreter's own quickened call does not, and crashes."""


class UnreadableHeaders(ValueError):
    """The headers of a record cannot be had: a name among them is no UTF-8."""


def headers_of(message: Message) -> Headers:
    """The headers of a record; one without a value is empty. None at all, where they cannot be read."""
    try:
        return read_headers(message)
    except UnreadableHeaders:
        return []


def read_headers(message: Message) -> Headers:
    """The headers of a record; one without a value is empty. Raises `UnreadableHeaders`."""
    try:
        found = HEADERS(message) or []
    except SystemError as error:
        message.set_headers([])  # else it gives the same list at the next call, without a word
        raise UnreadableHeaders("the name of a header is no UTF-8") from error
    pairs = found.items() if isinstance(found, dict) else found
    return [(name, value.encode() if isinstance(value, str) else value or b"") for name, value in pairs]


def is_mended(error: KafkaError) -> bool:
    """Whether a consumer only tells of this error and goes on by itself."""
    return bool(error.retriable()) or error.code() in MENDED


def raise_for(error: KafkaError | None) -> None:
    """Raises `KafkaException` unless the error is none or the harmless end of a partition."""
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
