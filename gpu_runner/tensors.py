"""Safetensors from the store: whatever is wrong with their header is refused before any memory is taken for them.

The library checks shapes, offsets and sizes against the bytes that are there, before it allocates; it takes a header
of up to 100 MB, which nothing here needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from schemas.errors import InvalidTensors

LENGTH_BYTES = 8
LONGEST_HEADER_BYTES = 1024 * 1024


@contextmanager
def checked(data: bytes) -> Iterator[None]:
    """What reads `data` inside raises `InvalidTensors` where it is no safetensors or lies about what it holds."""
    claimed = int.from_bytes(data[:LENGTH_BYTES], "little")
    if claimed > LONGEST_HEADER_BYTES:
        raise InvalidTensors(f"no safetensors: a header of {claimed} bytes, at most {LONGEST_HEADER_BYTES}")
    try:
        yield
    except SafetensorError as error:
        raise InvalidTensors(f"no safetensors: {error}"[:500]) from None
