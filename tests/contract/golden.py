"""The golden files: one record of every event type as it was first written, kept for ever.

`golden/NAME.json` is a record's value byte for byte, `golden/NAME.headers.json` its headers as pairs. A committed file
never changes: records like it are in people's topics. To add one:

- a new event type or version: give it an example in `examples.py` (`FIRST`);
- a new optional field: leave the first example alone and put one with the field into `examples.py` (`LATER`), named
  after its type with `.2`, `.3`, ... at the end;
- then `python -m tests.contract.golden` writes the files that are missing, and touches no other.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Headers, type_of
from tests.contract.examples import FIRST, JOB, LATER, NOW, TRACE

FOLDER = Path(__file__).parent / "golden"
EXAMPLES: dict[str, Frozen] = {type_of(type(example)): example for example in FIRST} | LATER
NEWEST: dict[str, str] = {type_of(type(example)): name for name, example in EXAMPLES.items()}
"""Event type to its latest golden file: the one that today's writer must reproduce."""


def record(event: Frozen) -> tuple[bytes, Headers]:
    """The event as the line writes it."""
    return envelope.write(event, id="id-1", source="golden", time=NOW, subject=JOB, traceparent=TRACE)


def value(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def headers(name: str) -> Headers:
    pairs = orjson.loads((FOLDER / f"{name}.headers.json").read_bytes())
    return [(header, text.encode()) for header, text in pairs]


def write_missing() -> None:
    for name, example in EXAMPLES.items():
        data, pairs = record(example)
        write_once(FOLDER / f"{name}.json", data)
        write_once(FOLDER / f"{name}.headers.json", orjson.dumps([(key, text.decode()) for key, text in pairs]))


def write_once(path: Path, content: bytes) -> None:
    if not path.exists():
        path.write_bytes(content)
        print(f"{path} written")


if __name__ == "__main__":
    write_missing()
