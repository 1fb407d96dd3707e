"""The notifier service: `run_notifier` until SIGTERM, SIGINT or a fault. One is active, others stand by."""

from __future__ import annotations

import time
from types import FrameType

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from runtime import logs
from runtime.settings import Settings
from runtime.watchdog import Turns
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.service import serve
from streams.kafka.topics import WEBHOOKS
from streams.kafka.transactions import ResultUnknown
from webhooks.delivery.journal import NAME, Journal
from webhooks.delivery.progress_source import ProgressSource
from webhooks.delivery.sender import Sender
from webhooks.delivery.service import Notifier
from webhooks.secrets import weakness

STANDBY_WAIT_S = 0.2
GOODBYE_S = 5.0

logger = structlog.get_logger(__name__)


def run_notifier(settings: Settings) -> int:
    """Deliver webhooks until told to stop (0), or until it fails (1): a new life reads everything anew."""
    logs.configure(settings, "notifier")
    if weak := weakness(settings):
        logger.error("the notifier cannot start", error=weak)
        return 1
    return serve(settings, "notifier", Service(settings))


class Service:
    """Elected by the group of `webhooks`, as a member that a restart with the same name gives its place back."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._watch = settings, ErrorWatch()
        self._group = clients.consumer(
            clients.ELECTION, settings, self._watch, group_id=f"{settings.topic_prefix}{NAME}",
            group_instance_id=settings.worker_name,
        )  # fmt: skip
        self._sender: Sender | None = None
        self._journal: Journal | None = None
        self._news = ProgressSource(settings)
        self._is_ours = self._stopping = False
        self._state = "starting"
        self.turns = Turns("notifier")

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._stopping = True

    def reason(self) -> str | None:
        """Why it is not ready; one that stands by is."""
        if (stalled := self.turns.reason(self._settings.stuck_after_s)) is not None:
            return stalled
        return None if self._state == "ready" else self._state

    def warnings(self) -> list[str]:
        return []

    def run(self) -> None:
        self._group.subscribe(
            [WEBHOOKS.named(self._settings.topic_prefix)],
            on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked,
        )  # fmt: skip
        while not (self._is_ours or self._stopping):
            self._poll(STANDBY_WAIT_S)
        if not self._stopping:
            self._deliver()

    def _deliver(self) -> None:
        self._state = "reading what is to be delivered"
        self._journal, self._sender = Journal(self._settings, self._group, self._watch), Sender(self._settings)
        notifier = Notifier(self._settings, self._journal, self._news, self._sender)
        notifier.open()
        self._state = "ready"
        while not self._stopping:
            self._turn(notifier, sending=True)
        deadline = time.monotonic() + GOODBYE_S
        while notifier.is_busy and time.monotonic() < deadline:
            self._turn(notifier, sending=False)

    def _turn(self, notifier: Notifier, sending: bool) -> None:
        self._poll(0.0)
        if not self._is_ours:
            raise ResultUnknown("another notifier has taken over")
        notifier.turn(sending)

    def _poll(self, seconds: float) -> None:
        """Its one partition is paused: membership is all that it is for."""
        self._watch.check()
        message = self._group.poll(seconds)
        error = None if message is None else message.error()
        if error is not None and not clients.is_mended(error):
            raise KafkaException(error)
        self.turns.turned()

    def _assigned(self, group: Consumer, partitions: list[TopicPartition]) -> None:
        group.incremental_assign(partitions)
        group.pause(partitions)
        self._is_ours |= any(partition.partition == 0 for partition in partitions)
        self._state = self._state if self._is_ours else "ready"

    def _revoked(self, group: Consumer, partitions: list[TopicPartition]) -> None:
        self._is_ours &= not any(partition.partition == 0 for partition in partitions)

    def close(self) -> None:
        for part in (self._sender, self._journal, self._news, self._group):
            if part is not None:
                part.close()
