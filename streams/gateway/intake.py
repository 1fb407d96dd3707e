"""Events into `prompts`, and what tenants set up into topics of its own.

Accepted means that the broker has acknowledged it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread

from confluent_kafka import KafkaError, KafkaException, Message

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Headers
from schemas.events import CancelRequested, DeleteRequested, PromptSubmitted
from streams import clients
from streams.clients import ErrorWatch
from streams.gateway.problems import Problem, away
from streams.settings import Settings
from streams.signing import signed
from streams.topics import PROMPTS, Topic

SOURCE = "latentline/gateway"
ACKNOWLEDGED_WITHIN_S = 5.0
Asked = PromptSubmitted | CancelRequested | DeleteRequested


class Intake:
    """One producer for all requests, served by a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.on_failed: Callable[[], object] = lambda: None
        self._watch = watch = ErrorWatch()
        self._settings = settings
        patience = int(ACKNOWLEDGED_WITHIN_S * 1000)
        self._producer = clients.producer(clients.PRODUCER, settings, watch, message_timeout_ms=patience)
        self._stop = Event()
        self._thread = Thread(target=self._serve, name="intake", daemon=True)
        self._thread.start()

    async def accept(self, event: Asked, traceparent: str | None = None) -> None:
        """Returns once the broker has it.

        Raises `Problem` 503 when that is not known. Whoever asks again must do so under the same idempotency key: the
        broker may have it after all.
        """
        value, headers = written(event, traceparent)
        await self._send(PROMPTS, event.tenant, value, signed(self._settings, value, headers))

    async def keep(self, topic: Topic, key: str, record: Frozen | None) -> None:
        """The same for a record of a compacted topic; None lets the key go."""
        value, headers = (None, []) if record is None else written(record)
        await self._send(topic, key, value, headers)

    async def _send(self, topic: Topic, key: str, value: bytes | None, headers: Headers) -> None:
        acknowledged: Future[None] = Future()

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                acknowledged.set_result(None)
            else:
                acknowledged.set_exception(KafkaException(error))

        try:
            self._producer.produce(
                topic.named(self._settings.topic_prefix), value, key, headers=[*headers], on_delivery=delivered
            )
            await asyncio.shield(asyncio.wrap_future(acknowledged))
        except BufferError:
            raise away("the line's intake") from None
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise Problem("request_too_large", "the request is too large for the line") from None
            raise away("the line's intake") from None

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.1)
            if self._watch.fatal is not None:
                self.on_failed()

    def close(self) -> None:
        """What is under way gets its time to arrive."""
        self._producer.flush(ACKNOWLEDGED_WITHIN_S)
        self._stop.set()
        self._thread.join()


def written(event: Frozen, traceparent: str | None = None) -> tuple[bytes, Headers]:
    return envelope.write(event, id=str(uuid.uuid4()), source=SOURCE, time=time.time(), traceparent=traceparent)
