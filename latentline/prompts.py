"""Prompts as people write them, in options and in JSON lines, to the event that the line reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from schemas.events.prompts import PromptSubmitted
from schemas.field_types import without_nulls
from schemas.json_text import NotJson, parsed


def prompt_of(fields: dict[str, Any], where: str = "") -> PromptSubmitted:
    """Raises `typer.BadParameter` naming the field; unset options (None) are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return PromptSubmitted.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise typer.BadParameter(f"{where}{field}: {first['msg']}") from None


def read_prompts(file: Path, defaults: dict[str, Any] | None = None) -> list[PromptSubmitted]:
    """One prompt for each line that is not empty: a JSON object. `-` is standard input.

    Raises `typer.BadParameter` naming file and line, before anything is sent.
    """
    try:
        text = typer.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise typer.BadParameter(f"{file} has no prompts: one JSON object a line")
    return [prompt_of({**(defaults or {}), **object_of(line, f"{file}:{number}: ")}, f"{file}:{number}: ")
            for number, line in lines]  # fmt: skip


def object_of(line: bytes, where: str) -> dict[str, Any]:
    """The fields that a line sets. Raises `typer.BadParameter`."""
    try:
        value = parsed(line)
    except NotJson as error:
        raise typer.BadParameter(f"{where}no JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{where}a prompt is a JSON object with at least `prompt`")
    fields: dict[str, Any] = without_nulls(value)
    return fields


def cache_of(text: str | None) -> dict[str, str] | None:
    """`KIND`, or `KIND,threshold=0.1,cache_reset_every=5`."""
    if text is None:
        return None
    kind, *settings = (part.strip() for part in text.split(","))
    split = [setting.partition("=") for setting in settings]
    return {"kind": kind} | {name: value for name, _, value in split}


def metadata_of(pairs: Iterable[str], field: str = "metadata", shape: str = "NAME=VALUE") -> dict[str, str] | None:
    """`name=value` pairs; None when there are none. Raises `typer.BadParameter`."""
    split = [pair.partition("=") for pair in pairs]
    for name, equals, _ in split:
        if not (name and equals):
            raise typer.BadParameter(f"{field} is {shape}, not {name!r}")
    return {name: value for name, _, value in split} or None
