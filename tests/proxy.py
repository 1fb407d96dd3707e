"""A fault injector between the line and its store: a TCP relay that can refuse, delay, answer in its place, and cut."""

from __future__ import annotations

import asyncio
from threading import Thread
from typing import Self

REFUSAL = b"HTTP/1.1 %d Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
PIECE = 64 * 1024


class Proxy:
    """Relays everything until one of its faults is set; each may be set and cleared at any time, from any thread.

    `away`: connections end at once, old ones too. `delay`: seconds that each piece of an answer takes longer.
    `refusals`: so many requests to come are answered with `status`. `cuts`: so many connections, new or kept alive, end
    once `cut_after` more bytes have gone up.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self.away, self.delay = False, 0.0
        self.refusals, self.status = 0, 503
        self.cuts, self.cut_after = 0, 0
        self.connections = 0
        """How many were made so far."""
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.01)  # closed transports are called once more

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if self.away:
                return
            up_reader, up_writer = await asyncio.open_connection(*self._target)
            try:
                ways = {
                    asyncio.ensure_future(self._up(reader, up_writer, writer)),
                    asyncio.ensure_future(self._down(up_reader, writer)),
                    asyncio.ensure_future(self._leaves()),
                }
                _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in left:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                up_writer.close()
        except OSError:
            pass
        finally:
            writer.close()

    async def _up(
        self, reader: asyncio.StreamReader, store: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        sent, cut_at = 0, float("inf")
        while (piece := await reader.read(PIECE)) and not self.away:
            if self.refusals > 0:
                self.refusals -= 1
                client.write(REFUSAL % self.status)
                return await client.drain()
            if self.cuts > 0 and cut_at == float("inf"):
                self.cuts, cut_at = self.cuts - 1, sent + self.cut_after
            sent += len(piece)
            if sent > cut_at:
                store.write(piece[: len(piece) // 2])
                return await store.drain()
            store.write(piece)
            await store.drain()

    async def _down(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            if self.delay:
                await asyncio.sleep(self.delay)
            client.write(piece)
            await client.drain()

    async def _leaves(self) -> None:
        while not self.away:
            await asyncio.sleep(0.05)
