"""A way to the gateway that hears its first answers and passes something else on, or nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

BURST = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@contextmanager
def troubled(port: int, times: int, instead: bytes = b"") -> Iterator[int]:
    """Its port. The call arrives each time; the first `times` answers become `instead`, or an end of connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=serve, args=(server, port, times, instead), daemon=True)
        thread.start()
        yield server.getsockname()[1]
    thread.join(10)


def serve(server: socket.socket, port: int, times: int, instead: bytes) -> None:
    for number in range(times + 1):
        inward, _ = server.accept()
        with inward, socket.create_connection(("127.0.0.1", port)) as outward:
            request = b""
            while b"--\r\n" not in request and b"}" not in request:
                request += inward.recv(65536)
            outward.sendall(request)
            answer = whole_answer(outward)
            inward.sendall(answer if number == times else instead)


def whole_answer(connection: socket.socket) -> bytes:
    answer = b""
    while True:
        answer += connection.recv(65536)
        head, end, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if end and length and len(body) >= int(length[1]):
            return answer
