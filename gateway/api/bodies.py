"""The body of a request as an object of few fields: JSON or a form, within bounds that are checked before the work.

The official client sends JSON up to 2.26 and forms from 2.28 on, where everything is text and nested values have
bracketed keys: `metadata[order]=7`, `tags[]=a`. A field means the same in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from gateway.api import forms
from gateway.problems import Problem
from schemas.bounds import DEEPEST, LARGEST_BODY_BYTES, MOST_FIELDS
from schemas.errors import shorten
from schemas.json_text import NotJson, parsed
from schemas.media_type import MediaType

JSON, MULTIPART, URLENCODED = "application/json", "multipart/form-data", "application/x-www-form-urlencoded"
KEY = re.compile(r"[^\[\]]+|\[[^\[\]]*\]")
TEXTS = ("prompt", "negative_prompt", "metadata")
"""Fields of a form that may be empty; any other that is empty is unset, since no value of it is."""

LARGEST_AT_ONCE = 4 * 1024
"""Bytes of a body that is read on the event loop: a larger one is worth a thread."""
LONGEST_KEY = 200


async def fields_of(request: Request, optional: bool = False) -> dict[str, Any]:
    """`optional`: no body at all is an empty object. Raises `Problem`: 415 for what is neither JSON nor a form."""
    kind = MediaType.of(request.headers.get("content-type", ""))
    if encoding := request.headers.get("content-encoding"):
        raise Problem("unsupported_media_type", f"content-encoding = {shorten(encoding)}: a body comes as it is")
    body, size = await received(request)
    if optional and not size:
        return {}
    forms.check_charset(kind.charset, "content-type")
    if size > len(body):
        if kind.name == MULTIPART:
            # Refused by its name where it is a file that makes it so large.
            forms.multipart(request.headers["content-type"], body, is_whole=False)
        raise Problem("request_too_large", f"the body has {size} bytes, at most {LARGEST_BODY_BYTES}")
    said = kind.name, request.headers.get("content-type", ""), body
    return read(*said) if len(body) <= LARGEST_AT_ONCE else await run_in_threadpool(read, *said)


def read(kind: str, content_type: str, body: bytes) -> dict[str, Any]:
    """Raises `Problem`."""
    if kind == JSON:
        return object_of(body)
    if kind == MULTIPART:
        return folded(forms.multipart(content_type, body))
    if kind == URLENCODED:
        return folded(forms.urlencoded(body))
    raise Problem("unsupported_media_type", f"a body is {JSON} or {MULTIPART}, not {kind or 'without a type'}")


async def received(request: Request) -> tuple[bytes, int]:
    """As much of the body as may be looked at, and how large it is. What is beyond is read, so that its sender hears
    the answer, and thrown away."""
    kept, size = bytearray(), 0
    async for chunk in request.stream():
        kept += chunk[: max(LARGEST_BODY_BYTES - size, 0)]
        size += len(chunk)
    return bytes(kept), size


def object_of(body: bytes | str, param: str | None = None) -> dict[str, Any]:
    """Raises `Problem`. `param`: the field that holds this JSON; None for the body itself."""
    text = body.encode(errors="surrogatepass") if isinstance(body, str) else body
    try:
        value = parsed(text)
    except NotJson as error:
        raise Problem("invalid_json", f"{param or 'the body'} is not JSON: {error}", param) from None
    if not isinstance(value, dict):
        raise Problem("invalid_json" if param is None else "invalid_value",
                      f"{param or 'the body'} must be a JSON object", param)  # fmt: skip
    check_shape(value)
    return value


def check_shape(value: Any) -> None:
    """Raises `Problem` for more fields, or deeper ones, than any request has: each would be looked at."""
    count, level, depth = 0, [value], 0
    while level := [child for node in level for child in children(node)]:
        count, depth = count + len(level), depth + 1
        if count > MOST_FIELDS:
            raise Problem("invalid_request", f"a body has at most {MOST_FIELDS} fields")
        if depth > DEEPEST:
            raise Problem("invalid_request", f"a body nests at most {DEEPEST} deep")


def children(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def folded(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Bracketed keys as nested values."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        parts = KEY.findall(key[:LONGEST_KEY])
        path = [part.strip("[]") for part in parts]
        if "".join(parts) != key or not path or not path[0] or len(path) > DEEPEST:
            raise Problem("unknown_parameter", f"there is no parameter {key[:80]!r}", key[:80])
        if value or path[0] in TEXTS:
            put(fields, path, value, key)
    return fields


def put(fields: dict[str, Any], path: list[str], value: str, key: str) -> None:
    inner: Any = fields
    for part, following in pairwise(path):
        inner = inner.setdefault(part, [] if following == "" else {}) if isinstance(inner, dict) else None
    if isinstance(inner, list) and path[-1] == "":
        inner.append(value)
    elif isinstance(inner, dict) and path[-1] != "" and not isinstance(inner.get(path[-1]), dict | list):
        inner[path[-1]] = value
    else:
        raise Problem("invalid_value", f"{key[:80]} contradicts another field of the form", path[0])
