"""Whether a new version of an event's schema may replace an old one under the same name.

Old and new writers and readers live side by side for a while, so both must hold: what an old writer may write, a new
reader takes, and the reverse. A writer is closed (no field beyond its schema), a reader is open; comparing open with
open would refuse every new optional field. The checker knows JSON Schema draft 4 without references.
"""

from __future__ import annotations

import warnings
from typing import Any

from infra.contract.json_schema import Schema

with warnings.catch_warnings():
    # jsonsubschema's source has a string with a stray backslash, which Python warns of when it compiles it.
    warnings.simplefilter("ignore")
    import jsonsubschema

# A key's names are checked by pydantic alone: the checker would ignore `propertyNames`.
ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "title", "description", "default", "examples", "propertyNames"})
BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Who could not read whom; empty if the new schema may replace the old one."""
    readers = {"new readers refuse old events": (old, new), "old readers refuse new events": (new, old)}
    return [problem for problem, (writer, reader) in readers.items() if not reads(reader, writer)]


def reads(reader: Schema, writer: Schema) -> bool:
    """Whether everything that `writer` may write, and nothing beyond its fields, is taken by `reader`."""
    return subset(closed(plain(writer)), plain(reader))


def subset(one: Schema, other: Schema) -> bool:
    """Whether every value that `one` takes is taken by `other`; both in draft 4."""
    return bool(jsonsubschema.isSubschema(one, other))


def plain(schema: Schema) -> Any:
    """The schema in draft 4, references resolved and annotations dropped."""
    return _plain(schema, schema.get("$defs", {}))


def _plain(node: Any, definitions: dict[str, Schema]) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _plain(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    kept = {name: value for name, value in node.items() if name not in ANNOTATIONS}
    fields = kept.pop("properties", None)
    result: dict[str, Any] = {}
    for name, value in kept.items():
        result |= {BOUNDS[name]: value, name: True} if name in BOUNDS else {name: _plain(value, definitions)}
    if fields is not None:
        result["properties"] = {name: _plain(value, definitions) for name, value in fields.items()}
    return result


def closed(node: Any) -> Any:
    """The schema with every object that lists its fields closed to others."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    shut = {name: closed(value) for name, value in node.items()}
    return {**shut, "additionalProperties": False} if isinstance(node.get("properties"), dict) else shut
