"""Requests to receivers, many at once, from a thread of its own; their answers wait to be fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from runtime.settings import Settings
from webhooks.address_policy import Gate
from webhooks.delivery.http import Answer, Poster
from webhooks.delivery.resolver import Resolver

Result = TypeVar("Result")


class Sender:
    def __init__(self, settings: Settings) -> None:
        self._answers: SimpleQueue[tuple[str, Answer]] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._tasks = set[asyncio.Task[None]]()
        self._thread = Thread(target=self._loop.run_forever, name="sender", daemon=True)
        self._thread.start()
        self._resolver, self._poster = self._on_loop(self._open(settings))

    async def _open(self, settings: Settings) -> tuple[Resolver, Poster]:
        resolver = Resolver(settings.webhook_timeout_s)
        return resolver, Poster(Gate.of(settings.webhook_allow), settings.webhook_timeout_s, resolver)

    def _on_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def send(self, delivery: str, url: str, headers: dict[str, str], body: str) -> None:
        """Returns at once."""
        self._loop.call_soon_threadsafe(self._begin, delivery, url, headers, body)

    def _begin(self, delivery: str, url: str, headers: dict[str, str], body: str) -> None:
        task = self._loop.create_task(self._send(delivery, url, headers, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, delivery: str, url: str, headers: dict[str, str], body: str) -> None:
        self._answers.put((delivery, await self._poster.post(url, headers, body)))

    def answers(self) -> list[tuple[str, Answer]]:
        """Those that have come since the last time."""
        come = []
        try:
            while True:
                come.append(self._answers.get_nowait())
        except Empty:
            return come

    def close(self) -> None:
        """What is under way is given up; it is sent again in the next life."""
        self._on_loop(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._poster.close()
        await self._resolver.close()
