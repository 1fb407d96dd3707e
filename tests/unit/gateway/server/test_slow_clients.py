"""Clients that dawdle, over real sockets: they are let go, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import h11
import pytest
import uvicorn
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.server import chunked_bodies, slow_clients
from gateway.server.chunked_bodies import Connection
from gateway.server.slow_clients import SlowClientProtocol

REQUEST = b"GET /%s HTTP/1.1\r\nhost: gateway\r\n\r\n"
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    if scope["path"] == "/endless":
        await StreamingResponse(endless())(scope, receive, send)
    else:
        await PlainTextResponse("there")(scope, receive, send)


@asynccontextmanager
async def serving() -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """A way to connect."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=SlowClientProtocol, log_config=None, lifespan="off"))
    config = server.config
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(await asyncio.open_connection("127.0.0.1", port))
        return clients[-1]

    try:
        yield connect
    finally:
        for _, writer in clients:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        await server.shutdown()


async def answer(client: Client) -> bytes:
    reader, writer = client
    writer.write(REQUEST % b"")
    return await asyncio.wait_for(reader.readuntil(b"there"), 10)


async def is_let_go(client: Client) -> bool:
    """Whether the server ends the connection."""
    try:
        while await asyncio.wait_for(client[0].read(65536), 10):
            pass
    except ConnectionResetError:
        pass
    return True


async def dripping(client: Client, text: bytes) -> bool:
    """Send a byte at a time, for as long as it is taken; whether it ended."""
    reader, writer = client
    for byte in text:
        if reader.at_eof():
            return True
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
    return await is_let_go(client)


def test_a_head_a_byte_at_a_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "HEAD_WITHIN_S", 0.2)

    async def attack() -> None:
        async with serving() as connect:
            slow = [await connect() for _ in range(20)]
            silent = await connect()
            drips = [asyncio.create_task(dripping(client, b"GET / HTTP/1.1\r\nx: " + b"y" * 60)) for client in slow]
            assert b"200 OK" in await answer(await connect())
            assert all(await asyncio.gather(*drips, is_let_go(silent)))

    asyncio.run(attack())


def test_an_answer_that_nobody_reads_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "READ_WITHIN_S", 0.2)

    async def attack() -> None:
        async with serving() as connect:
            deaf = await connect()
            deaf[1].write(REQUEST % b"endless")
            await deaf[0].readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.4)
            assert b"200 OK" in await answer(await connect())
            assert await is_let_go(deaf)

    asyncio.run(attack())


def test_a_client_between_two_requests_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "HEAD_WITHIN_S", 0.1)

    async def visit() -> None:
        async with serving() as connect:
            client = await connect()
            assert b"200 OK" in await answer(client)
            await asyncio.sleep(0.3)
            assert b"200 OK" in await answer(client)

    asyncio.run(visit())


HEAD = b"POST / HTTP/1.1\r\nhost: gateway\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"1\r\nx\r\n"


def test_a_body_of_too_many_chunks_is_not_taken_apart() -> None:
    connection = Connection(slow_clients.LARGEST_HEAD)
    connection.receive_data(HEAD + CHUNK * (chunked_bodies.MOST_CHUNKS + 1000))
    assert isinstance(connection.next_event(), h11.Request)
    assert all(isinstance(connection.next_event(), h11.Data) for _ in range(chunked_bodies.MOST_CHUNKS))
    with pytest.raises(h11.RemoteProtocolError, match="chunks"):
        connection.next_event()


@pytest.mark.parametrize("path", ["", "endless"])
def test_who_sends_too_many_chunks_is_let_go(path: str) -> None:
    async def attack() -> None:
        async with serving() as connect:
            hostile = await connect()
            hostile[1].write(HEAD.replace(b" / ", b" /%s " % path.encode()) + CHUNK * 100_000)
            assert await is_let_go(hostile)
            assert b"200 OK" in await answer(await connect())

    asyncio.run(attack())
