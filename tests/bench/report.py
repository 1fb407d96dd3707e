"""What every benchmark prints: a table for people, and as its very last line one JSON object with its figures."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
RELIABILITY = PAGE.with_name("reliability.md")
LIBRARIES = ("torch", "diffusers", "confluent-kafka", "minio", "av")


@dataclass(frozen=True)
class Spread:
    """Median, least and largest of n figures."""

    median: float
    least: float
    largest: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.least:.3f} to {self.largest:.3f}, n={self.n})"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def machine() -> str:
    """What the figures depend on, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{os.cpu_count()} x {platform.machine()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {libraries}"
    )


def write_section(title: str, command: str, body: str, page: Path = PAGE) -> None:
    """Put a section into docs/benchmarks.md, over its earlier version where there is one."""
    marks = f"<!-- {title} -->", f"<!-- end of {title} -->"
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    section = f"{marks[0]}\n## {title}\n\n`{command}`, {day}, on {machine()}\n\n{body}\n{marks[1]}\n"
    text = (
        page.read_text()
        if page.exists()
        else "# Benchmarks\n\nWritten by the commands that measure. Medians (least to largest, n).\n\n"
    )
    before, found, rest = text.partition(marks[0])
    after = rest.partition(f"{marks[1]}\n")[2] if found else ""
    page.write_text(f"{before}{section}{after}" if found else f"{text.rstrip()}\n\n{section}")


def last_line(figures: dict[str, object]) -> str:
    return orjson.dumps(figures, option=orjson.OPT_SORT_KEYS).decode()
