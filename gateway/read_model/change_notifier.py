"""Who waits for news of a job or a key: event streams, and answers that wait for what they asked for to become true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager


class ChangeNotifier:
    """Lives on the event loop; `tell` may be called from any thread."""

    def __init__(self) -> None:
        self.closing = False
        self.told = 0
        """How often there was news."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def open(self) -> None:
        """From the loop on which it is to live."""
        self._loop = asyncio.get_running_loop()

    def tell(self, names: Collection[str]) -> None:
        """There is something new about these: ids of jobs and deliveries, digests of keys."""
        if self._loop is not None and names and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, tuple(names))

    def _tell(self, names: tuple[str, ...]) -> None:
        self.told += 1
        for name in names:
            for event in self._waiting.get(name, ()):
                event.set()

    def close(self) -> None:
        """Everybody who waits is woken, and finds it closing."""
        self.closing = True
        self._tell(tuple(self._waiting))

    @contextmanager
    def subscribe(self, *names: str) -> Iterator[asyncio.Event]:
        """An event that is set when there is news of any of them; who waits clears it before looking."""
        event = asyncio.Event()
        for name in names:
            self._waiting.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            for name in names:
                self._waiting[name].discard(event)
                if not self._waiting[name]:
                    del self._waiting[name]

    async def until(self, name: str, reached: Callable[[], Awaitable[bool]], seconds: float, *others: str) -> bool:
        """Look at each news, also of the others, until `reached` or the time is up; which of the two."""
        deadline = time.monotonic() + seconds
        with self.subscribe(name, *others) as news:
            while True:
                news.clear()
                if await reached():
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or self.closing or not await set_within(news, left):
                    return False


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
