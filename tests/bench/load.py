"""Requests at a rate, over connections that stay: little beside what is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from runtime.settings import DEFAULT_KEY

HEADERS = f"host: 127.0.0.1\r\nauthorization: Bearer {DEFAULT_KEY}\r\n"


@dataclass(frozen=True)
class Request:
    path: str
    body: bytes = b""
    key: str = ""
    """Of idempotency."""

    def to_bytes(self) -> bytes:
        if not self.body:
            return f"GET {self.path} HTTP/1.1\r\n{HEADERS}\r\n".encode()
        more = f"content-type: application/json\r\ncontent-length: {len(self.body)}\r\n"
        more += f"idempotency-key: {self.key}\r\n" if self.key else ""
        return f"POST {self.path} HTTP/1.1\r\n{HEADERS}{more}\r\n".encode() + self.body


@dataclass
class Load:
    """Opens a connection whenever none is free. Raises `AssertionError` for an answer that is no 200."""

    port: int
    _free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self, request: Request) -> bytes:
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request.to_bytes())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        body = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        self._free.append((reader, writer))
        return body

    async def timed(self, request: Request) -> float:
        began = time.perf_counter()
        await self.ask(request)
        return time.perf_counter() - began

    async def at_rate(self, make: Callable[[int], Request], rate: float, count: int) -> list[float]:
        """Seconds of each since it was due: a server that stalls is charged for all that it kept waiting."""
        began = time.perf_counter()

        async def one(number: int) -> float:
            due = began + number / rate
            await asyncio.sleep(due - time.perf_counter())
            await self.ask(make(number))
            return time.perf_counter() - due

        return list(await asyncio.gather(*(one(number) for number in range(count))))

    async def at_full_speed(self, make: Callable[[int], Request], clients: int, seconds: float) -> float:
        """Requests a second of so many clients, each with one at a time."""
        end, numbers = time.perf_counter() + seconds, iter(range(10**9))

        async def one() -> int:
            done = 0
            while time.perf_counter() < end:
                await self.ask(make(next(numbers)))
                done += 1
            return done

        return sum(await asyncio.gather(*(one() for _ in range(clients)))) / seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        for _, writer in self._free:
            writer.close()


def percentile(seconds: Sequence[float], percent: float) -> float:
    """In milliseconds."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
