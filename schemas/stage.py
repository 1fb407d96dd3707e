"""The four stages of the line, in order."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

from schemas.base import plain_members


@plain_members
class Stage(StrEnum):
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    MUX = "mux"

    __hash__ = str.__hash__  # of the text, as it compares; the enum's own is a Python call, a lookup each time

    @property
    def upstream(self) -> Stage | None:
        """The stage whose output this one reads; None for the first."""
        return UPSTREAM.get(self)

    @property
    def downstream(self) -> Stage | None:
        return DOWNSTREAM.get(self)


STAGES = tuple(Stage)
DOWNSTREAM = dict(pairwise(STAGES))
UPSTREAM = {after: before for before, after in DOWNSTREAM.items()}
