"""Records that were written once are read for ever, and today's writer still writes them."""

from __future__ import annotations

import pytest

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import MODELS, Envelope
from tests.contract import golden
from tests.contract.examples import JOB, NOW, TRACE
from tests.contract.golden import EXAMPLES, FOLDER, NEWEST

NAMES = pytest.mark.parametrize("name", EXAMPLES)
TYPES = pytest.mark.parametrize("type_name", MODELS)


def test_every_event_type_has_a_golden_record_and_every_record_an_example() -> None:
    files = {path.name for path in FOLDER.iterdir()}
    assert files == {f"{name}{end}" for name in EXAMPLES for end in (".json", ".headers.json")}
    assert set(MODELS) == set(NEWEST)


@NAMES
def test_a_golden_record_is_read_as_its_example(name: str) -> None:
    event, attributes = envelope.read(golden.value(name), golden.headers(name))
    assert event == EXAMPLES[name]
    kind = envelope.type_of(type(event))
    assert attributes == Envelope("id-1", kind, "golden", subject=JOB, time=NOW, traceparent=TRACE)


@TYPES
def test_todays_writer_gives_the_same_bytes(type_name: str) -> None:
    name = NEWEST[type_name]
    assert golden.record(EXAMPLES[name]) == (golden.value(name), golden.headers(name))


@TYPES
def test_the_newest_example_sets_every_field(type_name: str) -> None:
    assert unset(EXAMPLES[NEWEST[type_name]]) == set()


def unset(value: object) -> set[str]:
    """Fields that were left to their default, at any depth."""
    if isinstance(value, Frozen):
        model = type(value)
        missing = {f"{model.__name__}.{name}" for name in model.model_fields if name not in value.model_fields_set}
        parts: list[object] = [getattr(value, name) for name in value.model_fields_set]
    else:
        missing = set()
        parts = list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, tuple) else []
    return missing.union(*map(unset, parts))
