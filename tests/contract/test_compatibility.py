"""What is committed and what the code says now can live side by side, and the check would notice if not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from infra.contract.compatibility import closed, incompatibilities, plain, subset
from infra.contract.generate import FOLDER, PROJECT
from infra.contract.json_schema import Schema, reader_schema
from schemas.base import Frozen
from schemas.envelope import MODELS
from schemas.events.completions import JobFailed
from schemas.events.prompts import PromptSubmitted
from tests.contract import golden

NEW_READERS, OLD_READERS = "new readers refuse old events", "old readers refuse new events"
EVENTS = pytest.mark.parametrize(("name", "model"), MODELS.items(), ids=MODELS)


def committed(name: str) -> Schema:
    schema: Schema = orjson.loads((PROJECT / FOLDER / f"{name}.json").read_bytes())
    return schema


@EVENTS
def test_the_code_may_replace_what_is_committed(name: str, model: type[Frozen]) -> None:
    assert incompatibilities(committed(name), reader_schema(model)) == []


@EVENTS
def test_schemas_are_valid_and_take_golden_records(name: str, model: type[Frozen]) -> None:
    schema = committed(name)
    Draft202012Validator.check_schema(schema)
    for golden_name, example in golden.EXAMPLES.items():
        if type(example) is model:
            Draft202012Validator(schema).validate(orjson.loads(golden.value(golden_name)))


@EVENTS
def test_an_unknown_field_is_welcome_at_any_depth(name: str, model: type[Frozen]) -> None:
    value = orjson.loads(golden.value(golden.NEWEST[name]))
    Draft202012Validator(committed(name)).validate(extended(value))
    assert model.read({**value, "from_the_future": 1}) == golden.EXAMPLES[golden.NEWEST[name]]


def extended(node: Any) -> Any:
    """The value as a newer writer may write it. Objects that are maps of free words are left alone."""
    if isinstance(node, list):
        return [extended(item) for item in node]
    if not isinstance(node, dict):
        return node
    maps = (
        "metadata", "timings", "facts", "jobs", "compute_seconds", "stages", "failures_by_kind", "checkpoints", "runs",
        "revisions", "files",
    )  # fmt: skip
    fields = {name: value if name in maps else extended(value) for name, value in node.items()}
    return {**fields, "from_the_future": {"a": [1]}}


# -- the check has teeth ---------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], Any]


def changed(model: type[Frozen], change: Change) -> Schema:
    schema = copy.deepcopy(reader_schema(model))
    change(schema)
    return schema


def add_optional(schema: dict[str, Any]) -> None:
    schema["properties"]["camera"] = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}


def add_required(schema: dict[str, Any]) -> None:
    schema["properties"]["camera"] = {"type": "string"}
    schema["required"] = [*schema["required"], "camera"]


def drop_optional(schema: dict[str, Any]) -> None:
    del schema["properties"]["seed"]


def drop_required(schema: dict[str, Any]) -> None:
    del schema["properties"]["prompt"]
    del schema["required"]


def change_type(schema: dict[str, Any]) -> None:
    schema["properties"]["fps"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def tighten(schema: dict[str, Any]) -> None:
    schema["properties"]["priority"]["maximum"] = 10


def loosen(schema: dict[str, Any]) -> None:
    schema["properties"]["priority"]["maximum"] = 1000


def add_required_inside(schema: dict[str, Any]) -> None:
    schema["$defs"]["ErrorReport"]["required"].append("limit")


def change_type_inside(schema: dict[str, Any]) -> None:
    schema["$defs"]["Recipe"]["properties"]["fps"] = {"type": "string"}


def add_optional_inside(schema: dict[str, Any]) -> None:
    schema["$defs"]["ErrorReport"]["properties"]["advice"] = {"type": "string"}


def add_word(schema: dict[str, Any]) -> None:
    schema["$defs"]["ErrorKind"]["examples"].append("moderation")


@pytest.mark.parametrize(
    ("model", "change", "problems"),
    [
        (PromptSubmitted, add_optional, []),
        (PromptSubmitted, add_required, [NEW_READERS]),
        (PromptSubmitted, drop_optional, []),
        (PromptSubmitted, drop_required, [OLD_READERS]),
        (PromptSubmitted, change_type, [NEW_READERS, OLD_READERS]),
        (PromptSubmitted, tighten, [NEW_READERS]),
        (PromptSubmitted, loosen, [OLD_READERS]),
        (JobFailed, add_required_inside, [NEW_READERS]),
        (JobFailed, change_type_inside, [NEW_READERS, OLD_READERS]),
        (JobFailed, add_optional_inside, []),
        (JobFailed, add_word, []),
    ],
)
def test_a_change_is_judged(model: type[Frozen], change: Change, problems: list[str]) -> None:
    assert incompatibilities(reader_schema(model), changed(model, change)) == problems


def test_open_against_open_would_refuse_every_new_field() -> None:
    """Why the writer is taken as closed: an open one might have written the new field as anything."""
    old, new = reader_schema(PromptSubmitted), changed(PromptSubmitted, add_optional)
    assert not subset(plain(old), plain(new))
    assert subset(closed(plain(old)), plain(new))
