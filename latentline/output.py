"""JSON for programs: one object a line, fields as the events have them."""

from __future__ import annotations

from typing import Any

import orjson

from schemas.base import Frozen
from schemas.printable import printable_json
from streams.client.updates import Changed, Stepped, Update


def to_json(value: Any) -> str:
    """Models anywhere in `value` become objects without their unset fields."""
    return printable_json(orjson.dumps(value, default=_plain).decode())


def _plain(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.model_dump(mode="json", exclude_none=True)
    raise TypeError(f"{type(value).__name__} has no JSON")


def update_json(update: Update) -> str:
    if isinstance(update, Changed):
        return to_json({"update": "changed", "job": update.job, "state": update.state})
    if isinstance(update, Stepped):
        return to_json({"update": "stepped", "job": update.job, "progress": update.progress})
    return to_json(
        {"update": "ended", "job": update.job, "status": str(update.status), "completion": update.completion}
    )
