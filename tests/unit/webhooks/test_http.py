"""One request to a receiver that fails in every way a real one does. No broker: a socket on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import pytest

from webhooks.address_policy import Gate
from webhooks.delivery.http import Answer, Poster
from webhooks.delivery.resolver import Resolve, Resolver

CERTIFICATE = Path(__file__).parent / "receiver.pem"
"""Of the name receiver.test, signed by itself: nobody trusts it but these tests."""
OPEN = Gate.of("127.0.0.0/8:*, receiver.test:*, other.test:*")
PATIENCE, SHORT = 30.0, 0.5
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no certificate at all."""
BODY = '{"type":"video.completed"}'
HEADERS = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}

Writer = asyncio.StreamWriter


def head(status: str, *more: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *more, "", ""]).encode()


def says(status: str, *more: str) -> Callable[[Writer], Awaitable[None]]:
    async def answer(writer: Writer) -> None:
        writer.write(head(status, "content-length: 2", *more) + b"ok")

    return answer


async def nothing(writer: Writer) -> None:
    await asyncio.sleep(60)


async def a_byte_at_a_time(writer: Writer) -> None:
    for byte in head("200 OK", *(f"x-{number}: y" for number in range(99))):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def reset(writer: Writer) -> None:
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


async def garbage(writer: Writer) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")


async def huge_body(writer: Writer) -> None:
    writer.write(head("200 OK", f"content-length: {10**12}"))
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_continue(writer: Writer) -> None:
    while True:
        writer.write(head("100 Continue") * 1000)
        await writer.drain()


async def huge_head(writer: Writer) -> None:
    writer.write(head("200 OK", "x: " + "y" * 10**6))


WAYS = {
    "/ok": says("204 No Content"), "/broken": says("500 Internal Server Error"), "/gone": says("410 Gone"),
    "/moved": says("302 Found", "location: /ok"), "/busy": says("429 Too Many Requests", "retry-after: 7"),
    "/cookie": says("200 OK", "set-cookie: a=b"), "/nothing": nothing, "/slow": a_byte_at_a_time, "/reset": reset,
    "/garbage": garbage, "/huge": huge_body, "/huge-head": huge_head, "/continue": endless_continue,
}  # fmt: skip


@dataclass
class Receiver:
    """Answers by path, and keeps what it was sent."""

    port: int = 0
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len(self.tasks)

    def accept(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.tasks.append(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        with suppress(OSError, asyncio.IncompleteReadError), closing(writer):
            start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            path = start.split(" ")[1]
            self.seen.append((path, headers, await reader.readexactly(int(headers["content-length"]))))
            await WAYS[path](writer)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.seen]


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()


def names(*addresses: str) -> Resolve:
    """A name server that has these addresses for every name."""

    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


async def posted(
    url: str, trust: ssl.SSLContext = NOBODY, addresses: Sequence[str] = ("127.0.0.1",), patience: float = PATIENCE
) -> Answer:  # fmt: skip
    poster = Poster(OPEN, patience, names(*addresses), trust)
    try:
        return await poster.post(url, HEADERS, BODY)
    finally:
        await poster.close()


def test_a_receiver_gets_exactly_what_was_signed() -> None:
    async def run() -> None:
        async with receiving() as receiver:
            url = f"http://receiver.test:{receiver.port}/ok"
            assert (await posted(url)).status == 204
            [(_, headers, body)] = receiver.seen
        assert body.decode() == BODY
        assert headers.items() >= (HEADERS | {"host": f"receiver.test:{receiver.port}"}).items()
        assert (headers["content-type"], headers["connection"]) == ("application/json", "close")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/broken", 500, None), ("/gone", 410, None), ("/moved", 302, None), ("/busy", 429, None),
        ("/nothing", None, "no answer within"), ("/slow", None, "no answer within"), ("/reset", None, "ReadError"),
        ("/garbage", None, "ProtocolError"), ("/huge", 200, None), ("/huge-head", None, "TooLong"),
        ("/continue", None, "TooLong"),
    ],
)  # fmt: skip
def test_a_receiver_that_fails(path: str, status: int | None, error: str | None) -> None:
    async def run() -> tuple[Answer, Receiver]:
        async with receiving() as receiver:
            patience = SHORT if path in ("/nothing", "/slow") else PATIENCE
            return await posted(f"http://127.0.0.1:{receiver.port}{path}", patience=patience), receiver

    answer, receiver = asyncio.run(run())
    assert answer.status == status
    assert answer.error is None if error is None else error in str(answer.error)
    assert answer.seconds < PATIENCE
    assert answer.retry_after == (7 if path == "/busy" else None)
    assert receiver.paths == [path]


def test_nobody_there_and_no_such_name_are_answers_too() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async def run() -> None:
        async with receiving() as receiver:
            port = receiver.port
        assert "ConnectError" in str((await posted(f"http://127.0.0.1:{port}/ok")).error)
        poster = Poster(OPEN, PATIENCE, unknown, NOBODY)
        assert "no public address" in str((await poster.post("https://a.example/", HEADERS, BODY)).error)
        assert (await poster.post("https://a b/", HEADERS, BODY)).error is not None
        await poster.close()

    asyncio.run(run())


def test_the_next_address_is_tried_and_each_request_has_its_own_connection_and_no_cookie() -> None:
    async def run() -> None:
        async with receiving() as receiver:
            for path in ("/cookie", "/ok"):
                url = f"http://receiver.test:{receiver.port}{path}"
                answer = await posted(url, addresses=["127.0.0.2", "127.0.0.1"])
                assert answer.error is None
            assert receiver.connections == 2
            assert not any("cookie" in headers for _, headers, _ in receiver.seen)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("https://a.example:{}/ok", ["127.0.0.1"]), ("https://a.example:{}/ok", ["8.8.8.8", "127.0.0.1"]),
        ("https://127.0.0.1:{}/ok", ["127.0.0.1"]), ("https://[::ffff:127.0.0.1]:{}/ok", ["::ffff:127.0.0.1"]),
        ("https://2130706433:{}/ok", ["127.0.0.1"]), ("http://a.example:{}/ok", ["8.8.8.8"]),
        ("https://a.example:{}/ok", []),
    ],
)  # fmt: skip
def test_what_is_inside_is_never_connected_to(url: str, addresses: list[str]) -> None:
    async def run() -> None:
        async with receiving() as receiver:
            poster = Poster(Gate(), PATIENCE, names(*addresses), NOBODY)
            answer = await poster.post(url.format(receiver.port), HEADERS, BODY)
            await poster.close()
            assert (answer.status, str(answer.error).split(":")[0]) == (None, "Refused")
            assert receiver.connections == 0

    asyncio.run(run())


def test_a_name_is_asked_for_once_so_a_second_answer_gains_nothing() -> None:
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.9"]

    async def run() -> None:
        async with receiving() as receiver:
            poster = Poster(OPEN, PATIENCE, rebinding, NOBODY)
            assert (await poster.post(f"http://receiver.test:{receiver.port}/ok", HEADERS, BODY)).status == 204
            await poster.close()

    asyncio.run(run())
    assert asked == ["receiver.test"]


def test_tls_is_verified_for_the_name_though_the_connection_goes_to_an_address() -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(CERTIFICATE)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))

    async def run() -> None:
        async with receiving(own) as receiver:
            url = f"https://receiver.test:{receiver.port}/ok"
            assert (await posted(url, trusting)).status == 204
            for refused in (await posted(url), await posted(url.replace("receiver.test", "other.test"), trusting)):
                assert "certificate verify failed" in str(refused.error)
            assert receiver.paths == ["/ok"]
            assert "ProtocolError" in str((await posted(url.replace("https", "http"))).error)

    asyncio.run(run())


def test_a_slow_receiver_keeps_no_other_waiting() -> None:
    async def run() -> None:
        async with receiving() as receiver:
            poster = Poster(OPEN, PATIENCE, names("127.0.0.1"), NOBODY)
            urls = [f"http://127.0.0.1:{receiver.port}{path}" for path in ("/nothing",) * 20 + ("/ok",)]
            *slow, quick = [asyncio.ensure_future(poster.post(url, HEADERS, BODY)) for url in urls]
            assert (await quick).status == 204
            assert not any(post.done() for post in slow)
            for post in slow:
                post.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            await poster.close()

    asyncio.run(run())


def test_a_name_that_is_private_and_one_that_does_not_exist_are_refused_in_the_same_words() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async def run() -> set[str | None]:
        errors = set()
        for resolve in (unknown, names(), names("10.0.0.1"), names("8.8.8.8", "10.0.0.1")):
            poster = Poster(Gate(), PATIENCE, resolve, NOBODY)
            errors.add((await poster.post("https://db.internal/", HEADERS, BODY)).error)
            await poster.close()
        return errors

    assert asyncio.run(run()) == {"Refused: db.internal has no public address"}


def test_an_allowance_is_for_its_port_alone() -> None:
    async def run() -> None:
        async with receiving() as receiver, receiving() as neighbour:
            poster = Poster(Gate.of(f"127.0.0.1:{receiver.port}"), PATIENCE, names("127.0.0.1"), NOBODY)
            assert (await poster.post(f"http://127.0.0.1:{receiver.port}/ok", HEADERS, BODY)).status == 204
            for scheme in ("http", "https"):
                answer = await poster.post(f"{scheme}://127.0.0.1:{neighbour.port}/ok", HEADERS, BODY)
                assert str(answer.error).startswith("Refused")
            await poster.close()
            assert neighbour.connections == 0

    asyncio.run(run())


def test_names_whose_name_server_is_silent_keep_no_other_delivery_waiting() -> None:
    """A hundred such lookups are given up in time, and a name that is known is found beside them."""

    async def run() -> None:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent:
            silent.bind(("127.0.0.1", 0))
            resolver = Resolver(PATIENCE, ["127.0.0.1"], silent.getsockname()[1])
            async with receiving() as receiver:
                open_to_localhost = Gate.of("localhost:*")
                patient, short = (Poster(open_to_localhost, time, resolver, NOBODY) for time in (PATIENCE, SHORT))
                stuck = [
                    asyncio.ensure_future(short.post(f"https://host-{number}.example/", HEADERS, BODY))
                    for number in range(100)
                ]
                known = await patient.post(f"http://localhost:{receiver.port}/ok", HEADERS, BODY)
                assert known.status == 204
                for answer in await asyncio.gather(*stuck):
                    assert "no answer within" in str(answer.error)
                for poster in (patient, short):
                    await poster.close()
            await resolver.close()

    asyncio.run(run())
