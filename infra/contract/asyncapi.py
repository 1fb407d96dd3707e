"""The line as an AsyncAPI 3.0 document: channels with their Kafka topics, messages, and what others may do.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
https://github.com/asyncapi/bindings/blob/master/kafka/README.md
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import yaml

from infra.contract.markdown import first_line
from schemas.base import Frozen
from schemas.envelope import CONTENT_TYPE, HEADERS, MODELS, Header, type_of
from schemas.signature import SIGNATURE
from streams.kafka.topics import TOPICS, Topic

Node = dict[str, Any]

BINDING = "0.5.0"
DESCRIPTION = (
    "Prompt events go in, finished videos and completion events come out. Channels that operations name are public; "
    "the rest is how the line talks to itself. Events are CloudEvents 1.0 in binary mode: attributes are headers, the "
    "value is the data. Readers ignore fields that they do not know."
)


def document() -> bytes:
    return yaml.safe_dump(contract(), sort_keys=False, allow_unicode=True, width=120).encode()


def contract() -> Node:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "latentline",
            "version": version("latentline"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: channel(topic) for topic in TOPICS},
        "operations": {f"{topic.public}_{topic.name}": operation(topic) for topic in TOPICS if topic.public},
        "components": {
            "schemas": {"headers": headers()},
            "messages": {name: message(model) for name, model in MODELS.items()},
        },
    }


def channel(topic: Topic) -> Node:
    partitions = "; one partition a cell" if topic.per_cell else ""
    names = [type_of(model) for model in topic.carries]
    return {
        "address": topic.name,
        "description": f"{topic.about} ({'public' if topic.public else 'internal'}{partitions})",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": channel_binding(topic)},
    }


def channel_binding(topic: Topic) -> Node:
    return {
        "topic": topic.name,
        "partitions": topic.partitions,
        "topicConfiguration": {name: typed(name, value) for name, value in topic.config().items()},
        "bindingVersion": BINDING,
    }


def typed(name: str, value: str) -> list[str] | str | int | float:
    """A topic's setting as the binding spells it; the broker takes text for all of them."""
    if name == "cleanup.policy":
        return value.split(",")
    if name == "compression.type":
        return value
    return float(value) if "." in value else int(value)


def operation(topic: Topic) -> Node:
    """What the line does. Whoever wants the other end sends where it receives, and receives where it sends."""
    channel = f"#/channels/{topic.name}"
    messages = [{"$ref": f"{channel}/messages/{type_of(model)}"} for model in topic.carries]
    return {"action": topic.public, "channel": {"$ref": channel}, "summary": topic.about, "messages": messages}


def message(model: type[Frozen]) -> Node:
    name = type_of(model)
    return {
        "name": name,
        "title": model.__name__,
        "summary": first_line(model),
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "allOf": [{"$ref": "#/components/schemas/headers"}, {"properties": {"ce_type": {"const": name}}}],
        },
        "payload": {"$ref": f"./{name}.json"},
        "bindings": {"kafka": {"key": {"type": "string", "description": key_of(model)}, "bindingVersion": BINDING}},
    }


def key_of(model: type[Frozen]) -> str:
    """What it is keyed by, wherever it goes."""
    return "; or ".join(dict.fromkeys(topic.key for topic in TOPICS if model in topic.carries))


def headers() -> Node:
    return {
        "type": "object",
        "required": [header.name for header in HEADERS if header.required],
        "properties": {header.name: header_schema(header) for header in (*HEADERS, SIGNATURE)},
    }


def header_schema(header: Header) -> Node:
    fixed = {} if header.value is None else {"const": header.value}
    return {"type": "string", "description": header.meaning, **fixed}
