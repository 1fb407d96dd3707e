"""Digests of values: SHA-256 over canonical JSON."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson


def digest(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `value` (keys sorted, floats in shortest round-trip form)."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
