"""JSON Schema of an event as its readers take it: unknown fields and unknown words are welcome."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import CoreSchema

from schemas.base import Frozen
from schemas.envelope import SCHEMA_BASE, type_of

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Untitled(GenerateJsonSchema):
    """No `title` that only repeats a field's name."""

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:
        return False


def reader_schema(model: type[Frozen]) -> Schema:
    """The open schema of an event. Writers are held to more: no field beyond these."""
    schema = opened(model.model_json_schema(schema_generator=Untitled))
    return {"$schema": DIALECT, "$id": f"{SCHEMA_BASE}{type_of(model)}.json", **schema}


def opened(node: Any) -> Any:
    """The schema without any `additionalProperties: false`."""
    if isinstance(node, dict):
        return {name: opened(value) for name, value in node.items() if (name, value) != ("additionalProperties", False)}
    return [opened(value) for value in node] if isinstance(node, list) else node
