"""How long a finished video is kept: a class that its job names, else its tenant, else the line."""

from __future__ import annotations

from schemas.base import OpenEnum, plain_members


@plain_members
class Retention(OpenEnum):
    """A reader keeps what a newer release keeps by a class that it does not know."""

    EPHEMERAL = "ephemeral"
    STANDARD = "standard"
    KEEP = "keep"
    UNKNOWN = "unknown"


CLASSES = (Retention.EPHEMERAL, Retention.STANDARD, Retention.KEEP)
DAY_S = 24 * 3600.0
DEFAULT = Retention.STANDARD
