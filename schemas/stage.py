"""The four stages of the line, in order."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    MUX = "mux"

    __hash__ = str.__hash__  # of the text, as it compares; the enum's own is a Python call, a lookup each time

    @property
    def upstream(self) -> Stage | None:
        """The stage whose output this one reads; None for the first."""
        place = STAGES.index(self)
        return STAGES[place - 1] if place else None

    @property
    def downstream(self) -> Stage | None:
        place = STAGES.index(self)
        return STAGES[place + 1] if place + 1 < len(STAGES) else None


STAGES = tuple(Stage)
