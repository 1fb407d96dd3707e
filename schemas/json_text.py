"""JSON as others write it: with a byte order mark, or with broken text, which is left to be refused by name."""

from __future__ import annotations

import codecs
import json
from typing import Any, NoReturn

import orjson


class NotJson(ValueError):
    """These bytes are no JSON; the message says where."""


def parsed(value: bytes) -> Any:
    """What the JSON says. Raises `NotJson`.

    Text in it may have halves of surrogate pairs, which JSON can spell and no encoder takes, and stands for bytes that
    are not UTF-8 as such halves: a validator of text refuses both, and can say in which field.
    """
    value = value.removeprefix(codecs.BOM_UTF8)
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return _loosely(value, error)


def _loosely(value: bytes, error: orjson.JSONDecodeError) -> Any:
    try:
        return json.loads(value.decode(errors="surrogateescape"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise NotJson(str(error)) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
