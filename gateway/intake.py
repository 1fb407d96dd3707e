"""Events into `prompts`, and what tenants set up into topics of its own.

Accepted means that the broker has acknowledged it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock, Thread

from confluent_kafka import KafkaError, KafkaException, Message

from gateway.problems import Problem, away
from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Headers
from schemas.events.prompts import CancelRequested, DeleteRequested, PromptSubmitted
from schemas.job import JobState
from streams.kafka import clients
from streams.kafka.clients import ErrorWatch
from streams.kafka.signing import signed
from streams.kafka.topics import PROMPTS, Topic

SOURCE = "latentline/gateway"
ACKNOWLEDGED_WITHIN_S = 5.0
Asked = PromptSubmitted | CancelRequested | DeleteRequested


@dataclass
class Sent:
    """A record on its way, and who waits for it. `expected` is the job that the line will make of it, `ahead` how many
    come before that one."""

    arrived: asyncio.Future[None]
    expected: JobState | None = None
    ahead: int = 0
    error: Exception | None = None

    def tell(self) -> None:
        """On the loop of who waits."""
        if self.arrived.done():
            return
        if self.error is not None:
            self.arrived.set_exception(self.error)
        else:
            self.arrived.set_result(None)


def tell(all_sent: list[Sent]) -> None:
    for sent in all_sent:
        sent.tell()


class Intake:
    """One producer for all requests, served by a thread of its own. All who wait live on one event loop.

    `note` takes the jobs that are expected of all prompts that the broker acknowledged together, and returns how many
    come before each. It is called in the intake's thread, so a create takes one change of threads, and those that come
    at once are noted in one transaction.
    """

    def __init__(self, settings: Settings, note: Callable[[list[JobState]], list[int]]) -> None:
        self.on_failed: Callable[[], object] = lambda: None
        self._watch = watch = ErrorWatch()
        self._settings, self._note = settings, note
        patience = int(ACKNOWLEDGED_WITHIN_S * 1000)
        self._producer = clients.producer(clients.PRODUCER, settings, watch, message_timeout_ms=patience)
        self._delivered: list[Sent] = []
        self._sending = Lock()
        self._stop = Event()
        self._thread = Thread(target=self._serve, name="intake", daemon=True)
        self._thread.start()

    async def accept(self, event: Asked, traceparent: str | None = None) -> None:
        """Returns once the broker has it.

        Raises `Problem` 503 when that is not known. Whoever asks again must do so under the same idempotency key: the
        broker may have it after all.
        """
        await self._send_event(event, traceparent)

    async def create(
        self, prompt: PromptSubmitted, traceparent: str | None, expect: Callable[[], JobState]
    ) -> tuple[JobState, int]:
        """The same for a prompt. The job that is expected of it, and how many come before that one.

        `expect` is called while the broker writes. Raises what `note` raises, too: then the broker has it.
        """
        sent = await self._send_event(prompt, traceparent, expect)
        assert sent.expected is not None
        return sent.expected, sent.ahead

    async def keep(self, topic: Topic, key: str, record: Frozen | None) -> None:
        """As `accept`, a record of a compacted topic; None lets the key go."""
        value, headers = (None, []) if record is None else written(record)
        await self._send(topic, key, value, headers)

    async def _send_event(
        self, event: Asked, traceparent: str | None, expect: Callable[[], JobState] | None = None
    ) -> Sent:
        value, headers = written(event, traceparent)
        return await self._send(PROMPTS, event.tenant, value, signed(self._settings, value, headers), expect)

    async def _send(
        self, topic: Topic, key: str, value: bytes | None, headers: Headers,
        expect: Callable[[], JobState] | None = None,
    ) -> Sent:  # fmt: skip
        sent = Sent(asyncio.get_running_loop().create_future())

        def delivered(error: KafkaError | None, message: Message) -> None:
            sent.error = None if error is None else KafkaException(error)
            self._delivered.append(sent)

        try:
            with self._sending:
                self._producer.produce(
                    topic.named(self._settings.topic_prefix), value, key, headers=[*headers], on_delivery=delivered
                )
                sent.expected = expect() if expect is not None else None
            await sent.arrived
        except BufferError:
            raise away("the line's intake") from None
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise Problem("request_too_large", "the request is too large for the line") from None
            raise away("the line's intake") from None
        return sent

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.1)
            self._finish()
            if self._watch.fatal is not None:
                self.on_failed()

    def _finish(self) -> None:
        """Tell all whose records have arrived since the last turn, or never will."""
        if not self._delivered:
            return
        with self._sending:
            # By now each of them has said what it expects.
            finished, self._delivered = self._delivered, []
        noted = [(sent, sent.expected) for sent in finished if sent.expected is not None and sent.error is None]
        try:
            aheads = self._note([state for _, state in noted]) if noted else []
        except Exception as error:
            for sent, _ in noted:
                sent.error = error
        else:
            for (sent, _), ahead in zip(noted, aheads, strict=True):
                sent.ahead = ahead
        # A loop that is closed: nobody waits any more.
        with suppress(RuntimeError):
            finished[0].arrived.get_loop().call_soon_threadsafe(tell, finished)

    def close(self) -> None:
        """What is under way gets its time to arrive."""
        self._producer.flush(ACKNOWLEDGED_WITHIN_S)
        self._stop.set()
        self._thread.join()


def written(event: Frozen, traceparent: str | None = None) -> tuple[bytes, Headers]:
    return envelope.write(event, id=str(uuid.uuid4()), source=SOURCE, time=time.time(), traceparent=traceparent)
