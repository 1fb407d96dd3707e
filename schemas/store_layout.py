"""Where outputs lie in the store, and which words may become part of a place.

What an event says about a place is never trusted: a word is refused where the event is read (`Segment`, `ObjectKey`,
`Etag`), and a reference to somebody else's output where it is used (`holds`).
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from schemas.stage import Stage

MANIFEST = "manifest.json"
SUFFIXES = {"video/mp4": ".mp4", "image/webp": ".webp", "image/jpeg": ".jpg"}
SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@=+-]{0,254}")
"""Begins with a letter or digit: no `..`, no absolute path, no control character, no quote."""
KEY = re.compile(rf"{SEGMENT.pattern}(?:/{SEGMENT.pattern})*")
ETAG = re.compile(r"[!#-~]{0,128}")
"""It goes into a header of a request: no quote, no line break."""
LONGEST_KEY = 1024


def checked_segment(text: str) -> str:
    """Raises `ValueError` unless `text` can be one step of an object key."""
    if SEGMENT.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} cannot be part of an object key: letters, digits and ._:@=+- alone")
    return text


def checked_key(text: str) -> str:
    """Raises `ValueError` unless `text` is an object key that leads nowhere else."""
    if len(text) > LONGEST_KEY or KEY.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is no object key of the line")
    return text


def checked_etag(text: str) -> str:
    """Raises `ValueError` unless `text` can stand in a condition of a request."""
    if ETAG.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is no etag")
    return text


def shown(text: str) -> str:
    return repr(text[:80])


Segment = Annotated[str, AfterValidator(checked_segment)]
ObjectKey = Annotated[str, AfterValidator(checked_key)]
Etag = Annotated[str, AfterValidator(checked_etag)]


def folder(tenant: str, stage: Stage, key: str, job: str) -> str:
    """Where the output of a stage lies: by its key, or, since a video carries metadata of its job, by the job."""
    return f"videos/{tenant}/{job}" if stage is Stage.MUX else f"artifacts/{tenant}/{stage}/{key}"


def preview(tenant: str, job: str) -> str:
    """The object that shows what a denoise is becoming, overwritten as it goes on; no manifest promises it."""
    return f"preview/{tenant}/{job}.webp"


def file(folder: str, sha256: str, media_type: str) -> str:
    """Where an object lies in its folder: by its own digest."""
    return f"{folder}/{sha256}{SUFFIXES.get(media_type, '')}"


def holds(folder: str, *keys: str) -> bool:
    """Whether every object key lies in that folder."""
    inside = f"{folder}/"
    return all(key.startswith(inside) for key in keys)
