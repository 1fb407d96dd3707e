"""Connections of clients that dawdle: closed, so that they hold nothing.

uvicorn limits how long an idle connection is kept between requests, not how long a client takes over one: a head that
comes a byte a minute, or an answer that nobody reads, would hold a connection for ever. How long a body may take is
limited in `middleware.py`, where there is still somebody to tell.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.server.chunked_bodies import Connection

HEAD_WITHIN_S = 15.0
READ_WITHIN_S = 60.0
LARGEST_HEAD = 32 * 1024


class SlowClientProtocol(H11Protocol):
    """HTTP/1.1 with an end to patience."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = Connection(LARGEST_HEAD)
        self._head: TimerHandle | None = None
        self._reading: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # What is left of a body that nobody wants any more is waited for as a head is.
        if self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE:
            self._await_head()
        else:
            self._head_is_here()

    def send_400_response(self, msg: str) -> None:
        # One who goes on with a broken body after the answer is told no second time.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._head_is_here()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(READ_WITHIN_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_WITHIN_S, self.transport.abort)

    def _head_is_here(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
