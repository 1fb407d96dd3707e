"""Requests whose end two readers could see in two places: refused, and the connection closed.

A proxy in front that believes `Content-Length` where this server believes `Transfer-Encoding`, or the other way round,
would take the rest of one client's body for the next client's request (request smuggling; RFC 9112, section 6.3). What
else is ambiguous (lengths that differ, codings other than `chunked`, a space before a colon) the parser refuses.
"""

from __future__ import annotations

from starlette.types import Scope

from gateway.problems import Problem


def ambiguity(scope: Scope) -> Problem | None:
    """What is wrong with how a request says its length; None where it says it once."""
    names = {name for name, _ in scope["headers"]}
    if b"transfer-encoding" not in names:
        return None
    if b"content-length" in names:
        why = "Content-Length and Transfer-Encoding exclude each other: send one"
    elif scope["http_version"] == "1.0":
        why = "HTTP/1.0 has no Transfer-Encoding: send a Content-Length"
    else:
        return None
    return Problem("invalid_request", why, "Transfer-Encoding", headers={"connection": "close"})
