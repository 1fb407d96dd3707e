"""CloudEvents 1.0 in Kafka's binary mode: attributes as `ce_*` headers, the value is the data itself.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
A structured-mode record (content type `application/cloudevents...`) is accepted on intake, never written.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from schemas import events, job, webhooks
from schemas.base import Frozen

CONTENT_TYPE = "application/json"
TYPE_PREFIX = "latentline."
SCHEMA_BASE = "https://latentline.dev/schemas/"
LONGEST_MESSAGE, LONGEST_DETAIL = 2000, 200
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""CloudEvents allows none in an attribute; a line break in an id would make signatures ambiguous."""

EVENTS: tuple[type[Frozen], ...] = (
    events.PromptSubmitted, events.CancelRequested, events.DeleteRequested,
    events.Task, events.CancelTask, events.Drain,
    events.Started, events.Done, events.Failed, events.Preempted, events.TaskCancelled, events.InputMissing,
    events.Heartbeat, events.Tick, events.DrainRequested, events.StepProgress,
    events.JobCompleted, events.JobFailed, events.JobCancelled, events.UsageWindow, events.ApiKey,
    job.JobState,
    webhooks.WebhookEndpoint, webhooks.EndpointDisabled, webhooks.WebhookDelivery, webhooks.DeliveryRequested,
    webhooks.TenantSecret,
)  # fmt: skip

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Header:
    """A header of every record that carries an event. Extension attributes may stand beside these."""

    name: str
    meaning: str
    required: bool = True
    value: str | None = None


HEADERS = (
    Header("ce_specversion", "CloudEvents version", value="1.0"),
    Header("ce_id", "unique for its source: the same id is the same event"),
    Header("ce_source", "who wrote it"),
    Header("ce_type", "event type; an incompatible change has another"),
    Header("ce_time", "RFC 3339, UTC"),
    Header("ce_subject", "the job it is about", required=False),
    Header("ce_dataschema", "URI of the JSON Schema of the value"),
    Header("content-type", "of the value", value=CONTENT_TYPE),
    Header("traceparent", "W3C trace context", required=False),
)


READ_HEADERS = {
    "content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "traceparent",
    "ce_traceparent",
}  # fmt: skip
"""Extension attributes are read by those whom they concern (`streams.addressing`)."""


class UnreadableEvent(ValueError):
    """The bytes are no event of ours. `reason` is a stable word: where the record goes, it goes as this."""

    def __init__(self, reason: str, message: str, field: str | None = None, value: str | None = None) -> None:
        self.reason, self.field, self.value = reason, field, value and value[:LONGEST_DETAIL]
        super().__init__(message[:LONGEST_MESSAGE])


class Envelope(NamedTuple):
    """The attributes around an event. `time` is unix seconds."""

    id: str
    type: str
    source: str
    subject: str | None = None
    time: float | None = None
    traceparent: str | None = None


@cache
def type_of(model: type[Frozen]) -> str:
    """`PromptSubmitted` -> `latentline.prompt_submitted.v1`."""
    return f"{TYPE_PREFIX}{re.sub(r'(?<!^)(?=[A-Z])', '_', model.__name__).lower()}.v1"


MODELS = {type_of(model): model for model in EVENTS}


def write(
    event: Frozen, *, id: str, source: str, time: float, subject: str | None = None, traceparent: str | None = None,
    extensions: Mapping[str, str] | None = None,
) -> tuple[bytes, Headers]:  # fmt: skip
    """Value and headers of a record. `extensions`: CloudEvents extension attributes, named in lower-case letters."""
    type_header, schema_headers = headers_of_type(type(event))
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        type_header,
        ("ce_time", rfc3339(time)),
    ]
    if subject is not None:
        headers.append(("ce_subject", subject.encode()))
    headers += schema_headers
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    if extensions:
        headers += [(f"ce_{name}", text.encode()) for name, text in extensions.items()]
    return event.to_bytes(), headers


@cache
def headers_of_type(model: type[Frozen]) -> tuple[tuple[str, bytes], Headers]:
    """What every event of a type says alike: the type itself, and what its value is."""
    name = type_of(model)
    schema = f"{SCHEMA_BASE}{name}.json"
    return ("ce_type", name.encode()), [("ce_dataschema", schema.encode()), ("content-type", CONTENT_TYPE.encode())]


@lru_cache(maxsize=64)
def rfc3339(time: float) -> bytes:
    """Of unix seconds. The records of one transaction share theirs."""
    return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z").encode()


def read(value: bytes | None, headers: Iterable[tuple[str, bytes | None]] | None) -> tuple[Frozen, Envelope]:
    """The event of a record and its envelope. Raises `UnreadableEvent`, never anything else."""
    attributes = {name: (text or b"").decode(errors="replace") for name, text in headers or () if name in READ_HEADERS}
    if value is None:
        raise UnreadableEvent("empty", "the record has no value")
    data: Any = parse(value)
    if attributes.get("content-type", "").startswith("application/cloudevents"):
        attributes, data = structured(data)
    envelope = envelope_of(attributes)
    model = MODELS.get(envelope.type)
    if model is None:
        raise UnreadableEvent("unknown_type", f"no event type {envelope.type!r}", "ce_type", envelope.type)
    try:
        return model.read(data), envelope
    except ValidationError as error:
        raise unreadable(error) from None


def parse(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UnreadableEvent("not_json", f"the value is not JSON: {error}") from None


def envelope_of(attributes: dict[str, str]) -> Envelope:
    for required in ("ce_type", "ce_id"):
        text = attributes.get(required)
        if not text:
            raise UnreadableEvent("missing_header", f"the header {required} is missing", required)
        if CONTROLS.search(text):
            raise UnreadableEvent("invalid_field", f"{required} has a control character", required, repr(text))
    source = attributes.get("ce_source", "")
    if CONTROLS.search(source):
        raise UnreadableEvent("invalid_field", "ce_source has a control character", "ce_source", repr(source))
    if attributes.get("ce_specversion", "1.0") != "1.0":
        version = attributes["ce_specversion"]
        raise UnreadableEvent("unknown_specversion", f"CloudEvents {version!r} is not 1.0", "ce_specversion", version)
    return Envelope(
        id=attributes["ce_id"],
        type=attributes["ce_type"],
        source=source,
        subject=attributes.get("ce_subject"),
        time=parse_time(attributes.get("ce_time")),
        traceparent=attributes.get("traceparent") or attributes.get("ce_traceparent"),
    )


def structured(data: Any) -> tuple[dict[str, str], Any]:
    if not isinstance(data, dict):
        raise UnreadableEvent("not_an_event", "a structured CloudEvent must be a JSON object")
    attributes = {f"ce_{name}": str(text) for name, text in data.items() if isinstance(text, str | int)}
    return attributes, data.get("data")


def unreadable(error: ValidationError) -> UnreadableEvent:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:LONGEST_DETAIL] or "value"
    return UnreadableEvent("invalid_field", f"{field}: {first['msg']}", field, reprlib.repr(first.get("input")))


def parse_time(text: str | None) -> float | None:
    """Unix seconds. A time without offset is UTC; what is no time is None, since nothing depends on it."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
