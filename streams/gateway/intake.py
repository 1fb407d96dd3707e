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
from threading import Event, Thread

from confluent_kafka import KafkaError, KafkaException, Message

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Headers
from schemas.events import CancelRequested, DeleteRequested, PromptSubmitted
from schemas.job import JobState
from streams import clients
from streams.clients import ErrorWatch
from streams.gateway.problems import Problem, away
from streams.settings import Settings
from streams.signing import signed
from streams.topics import PROMPTS, Topic

SOURCE = "latentline/gateway"
ACKNOWLEDGED_WITHIN_S = 5.0
Asked = PromptSubmitted | CancelRequested | DeleteRequested


@dataclass
class Sent:
    """A record on its way, and who waits for it. `expected` is what the line will make of it."""

    answer: asyncio.Future[int | None]
    expected: JobState | None
    error: Exception | None = None
    ahead: int | None = None

    def settle(self) -> None:
        """On the loop of who waits."""
        if self.answer.done():
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.ahead)


def tell(settled: list[Sent]) -> None:
    for sent in settled:
        sent.settle()


class Intake:
    """One producer for all requests, served by a thread of its own. All who wait live on one event loop.

    `expect` is told of jobs once the broker has their prompts, of all that it acknowledged together in one call; what
    it returns for each goes to who waits. So an answer takes one change of threads, and many at once one transaction.
    """

    def __init__(self, settings: Settings, expect: Callable[[list[JobState]], list[int]] = lambda states: []) -> None:
        self.on_failed: Callable[[], object] = lambda: None
        self._watch = watch = ErrorWatch()
        self._settings, self._expect = settings, expect
        patience = int(ACKNOWLEDGED_WITHIN_S * 1000)
        self._producer = clients.producer(clients.PRODUCER, settings, watch, message_timeout_ms=patience)
        self._delivered: list[Sent] = []
        self._stop = Event()
        self._thread = Thread(target=self._serve, name="intake", daemon=True)
        self._thread.start()

    async def accept(
        self, event: Asked, traceparent: str | None = None, expected: JobState | None = None
    ) -> int | None:  # fmt: skip
        """Returns once the broker has it: how many jobs come before the one that is expected of it.

        Raises `Problem` 503 when that is not known. Whoever asks again must do so under the same idempotency key: the
        broker may have it after all. Raises what `expect` raises, with the same advice.
        """
        value, headers = written(event, traceparent)
        return await self._send(PROMPTS, event.tenant, value, signed(self._settings, value, headers), expected)

    async def keep(self, topic: Topic, key: str, record: Frozen | None) -> None:
        """The same for a record of a compacted topic; None lets the key go."""
        value, headers = (None, []) if record is None else written(record)
        await self._send(topic, key, value, headers)

    async def _send(
        self, topic: Topic, key: str, value: bytes | None, headers: Headers, expected: JobState | None = None
    ) -> int | None:  # fmt: skip
        sent = Sent(asyncio.get_running_loop().create_future(), expected)

        def delivered(error: KafkaError | None, message: Message) -> None:
            sent.error = None if error is None else KafkaException(error)
            self._delivered.append(sent)

        try:
            self._producer.produce(
                topic.named(self._settings.topic_prefix), value, key, headers=[*headers], on_delivery=delivered
            )
            return await sent.answer
        except BufferError:
            raise away("the line's intake") from None
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise Problem("request_too_large", "the request is too large for the line") from None
            raise away("the line's intake") from None

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.1)
            self._settle()
            if self._watch.fatal is not None:
                self.on_failed()

    def _settle(self) -> None:
        """Answer all whose records have arrived, or never will, since the last turn."""
        settled, self._delivered = self._delivered, []
        if not settled:
            return
        expected = [(sent, sent.expected) for sent in settled if sent.expected is not None and sent.error is None]
        try:
            aheads = self._expect([state for _, state in expected]) if expected else []
        except Exception as error:
            for sent, _ in expected:
                sent.error = error
        else:
            for (sent, _), ahead in zip(expected, aheads, strict=True):
                sent.ahead = ahead
        # A loop that is closed: nobody waits any more.
        with suppress(RuntimeError):
            settled[0].answer.get_loop().call_soon_threadsafe(tell, settled)

    def close(self) -> None:
        """What is under way gets its time to arrive."""
        self._producer.flush(ACKNOWLEDGED_WITHIN_S)
        self._stop.set()
        self._thread.join()


def written(event: Frozen, traceparent: str | None = None) -> tuple[bytes, Headers]:
    return envelope.write(event, id=str(uuid.uuid4()), source=SOURCE, time=time.time(), traceparent=traceparent)
