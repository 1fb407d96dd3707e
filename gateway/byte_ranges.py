"""`Range` of HTTP, for one range of bytes: RFC 9110 section 14.

A header that is no byte range, or asks for several at once, is ignored, as the standard allows: the answer is whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ONE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
LONGEST_NUMBER = 18


@dataclass(frozen=True)
class Span:
    """Bytes `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def of(self, size: int) -> str:
        """`Content-Range`."""
        return f"bytes {self.first}-{self.last}/{size}"


class Unsatisfiable(ValueError):
    """The range lies beyond the end: 416."""


def span_of(header: str | None, size: int) -> Span | None:
    """The bytes asked for; None for all of them. Raises `Unsatisfiable`."""
    found = ONE.fullmatch((header or "").replace(" ", ""))
    if found is None or found[0] == "bytes=-" or max(map(len, found.groups())) > LONGEST_NUMBER:
        return None
    first, last = found.groups()
    if not first:
        return suffix(int(last), size)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return Span(int(first), min(int(last), size - 1) if last else size - 1)


def suffix(length: int, size: int) -> Span:
    if length == 0 or size == 0:
        raise Unsatisfiable
    return Span(max(size - length, 0), size - 1)
