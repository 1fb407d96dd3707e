"""Tables for pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell(value) for value in line)} |\n" for line in lines)


def cell(value: object) -> str:
    return str(value).replace("|", r"\|").replace("\n", " ")


def code(value: object) -> str:
    return f"`{value}`"


def codes(values: Iterable[object]) -> str:
    return ", ".join(code(value) for value in values)


def first_line(documented: type) -> str:
    """What a class is, in a line; empty if it does not say."""
    return (documented.__doc__ or "").strip().partition("\n")[0]
