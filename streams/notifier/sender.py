"""Requests to receivers, many at once, from a thread of its own; their answers wait to be fetched."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Thread

from streams.notifier.addresses import Gate
from streams.notifier.post import Answer, Poster
from streams.settings import Settings

NAMES_AT_ONCE = 32
"""Threads that ask for addresses: a name server that is slow for one host must not hold up the others."""


class Sender:
    def __init__(self, settings: Settings) -> None:
        self._poster = Poster(Gate.of(settings.webhook_allow), settings.webhook_timeout_s)
        self._answers: SimpleQueue[tuple[str, Answer]] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(NAMES_AT_ONCE, "names"))
        self._tasks = set[asyncio.Task[None]]()
        self._thread = Thread(target=self._loop.run_forever, name="sender", daemon=True)
        self._thread.start()

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
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._poster.close()
