"""CloudEvents 1.0 in Kafka's binary mode: attributes as `ce_*` headers, the value is the data itself.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
A record in structured mode (content type `application/cloudevents+json`) is accepted on intake, never written; a batch
is refused. Names of headers and media types are read in any case, and a media type's parameters are read past.
"""

from __future__ import annotations

import base64
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from schemas import catalogue, job, webhooks
from schemas.base import Frozen
from schemas.bounds import LONGEST_HEADER_BYTES, MOST_JSON_MARKS
from schemas.errors import legible
from schemas.events import completions, progress, prompts, reports, tasks, tenants, usage
from schemas.json_text import NotJson, parsed
from schemas.media_type import MediaType

CONTENT_TYPE = "application/json"
TYPE_PREFIX = "latentline."
SCHEMA_BASE = "https://latentline.dev/schemas/"
LONGEST_MESSAGE, LONGEST_DETAIL = 2000, 200
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""CloudEvents allows none in an attribute; a line break in an id would make signatures ambiguous."""
EVENTS: tuple[type[Frozen], ...] = (
    prompts.PromptSubmitted, prompts.CancelRequested, prompts.DeleteRequested,
    tasks.Task, tasks.CancelTask, tasks.Drain,
    reports.Started, reports.Done, reports.Failed, reports.Preempted, reports.TaskCancelled, reports.InputMissing,
    reports.Heartbeat, reports.Tick, reports.DrainRequested, reports.ExpiryDue, progress.StepProgress,
    completions.JobCompleted, completions.JobFailed, completions.JobCancelled, usage.UsageWindow, tenants.ApiKey,
    tenants.TenantSettings,
    job.JobState, catalogue.VideoRecord, catalogue.CatalogueRecord, catalogue.CatalogueFilled,
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
"""Extension attributes are read by those whom they concern (`streams.kafka.addressing`)."""
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch"
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Envelope(NamedTuple):
    """The attributes around an event. `time` is unix seconds."""

    id: str
    type: str
    source: str
    subject: str | None = None
    time: float | None = None
    traceparent: str | None = None


class Unread(NamedTuple):
    """As much as could be read of an event that is refused: whoever sent it can be told."""

    model: type[Frozen]
    data: Any
    envelope: Envelope


class UnreadableEvent(ValueError):
    """The bytes are no event of ours. `reason` is a stable word: where the record goes, it goes as this."""

    def __init__(
        self,
        reason: str,
        message: str,
        field: str | None = None,
        value: str | None = None,
        unread: Unread | None = None,
    ) -> None:
        self.reason, self.unread = reason, unread
        self.field, self.value = (text and legible(text[:LONGEST_DETAIL]) for text in (field, value))
        super().__init__(legible(message[:LONGEST_MESSAGE]))


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
    attributes = attributes_of(headers or ())
    if value is None:
        raise UnreadableEvent("empty", "the record has no value")
    data: Any = parse(value)
    if is_structured(attributes.get("content-type", "")):
        attributes, data = structured(data)
    envelope = envelope_of(attributes)
    model = MODELS.get(envelope.type)
    if model is None:
        raise UnreadableEvent("unknown_type", f"no event type {envelope.type!r}", "ce_type", envelope.type)
    try:
        return model.read(data), envelope
    except ValidationError as error:
        raise unreadable(error, Unread(model, data, envelope)) from None


def attributes_of(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The headers that are read, by their names in lower-case letters."""
    attributes: dict[str, str] = {}
    for spelling, value in headers:
        name = spelling.lower()
        if name not in READ_HEADERS:
            continue
        check_length(name, value or b"")
        attributes[name] = (value or b"").decode(errors="replace")
    return attributes


def check_length(name: str, text: bytes) -> None:
    if len(text) > LONGEST_HEADER_BYTES:
        message = f"{name} has {len(text)} bytes, at most {LONGEST_HEADER_BYTES}"
        raise UnreadableEvent("invalid_field", message, name, repr(text[:LONGEST_DETAIL]))


def parse(value: bytes) -> Any:
    marks = sum(map(value.count, (b",", b":", b"[", b"{"))) if len(value) > MOST_JSON_MARKS else 0
    if marks > MOST_JSON_MARKS:
        message = f"the value has {marks} commas, colons and brackets, at most {MOST_JSON_MARKS}"
        raise UnreadableEvent("too_complex", message)
    try:
        return parsed(value)
    except NotJson as error:
        raise UnreadableEvent("not_json", f"the value is not JSON: {error}") from None


def is_structured(content_type: str) -> bool:
    """Whether the whole event is in the value. Raises `UnreadableEvent` for a mode or a format that is not read."""
    kind = MediaType.of(content_type).name
    if not kind.startswith("application/cloudevents"):
        return False
    if kind.startswith(BATCH):
        message = f"content-type is {kind}: send each event of a batch as a record of its own"
        raise UnreadableEvent("not_an_event", message, "content-type", kind)
    if kind != STRUCTURED:
        raise UnreadableEvent("not_an_event", f"content-type is {kind}, not {STRUCTURED}", "content-type", kind)
    return True


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
    trace = attributes.get("traceparent") or attributes.get("ce_traceparent") or ""
    return Envelope(
        id=attributes["ce_id"],
        type=attributes["ce_type"],
        source=source,
        subject=attributes.get("ce_subject"),
        time=parse_time(attributes.get("ce_time")),
        traceparent=trace if TRACEPARENT.fullmatch(trace) else None,
    )


def structured(data: Any) -> tuple[dict[str, str], Any]:
    if not isinstance(data, dict):
        raise UnreadableEvent("not_an_event", "a structured CloudEvent must be a JSON object")
    attributes: dict[str, str] = {}
    for name, text in data.items():
        if (header := f"ce_{name}") in READ_HEADERS and isinstance(text, str | int):
            attributes[header] = str(text)
            check_length(header, encoded(header, attributes[header]))
    return attributes, data_of(data)


def encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UnreadableEvent("invalid_field", f"{name} has half of a character", name, repr(text)) from None


def data_of(event: dict[str, Any]) -> Any:
    """What a structured event carries: `data`, or the JSON that `data_base64` encodes. Raises `UnreadableEvent`."""
    text = event.get("data_base64")
    if text is None:
        return event.get("data")
    if event.get("data") is not None:
        raise UnreadableEvent("not_an_event", "an event has data or data_base64, not both", "data_base64")
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        value = reprlib.repr(text)
        raise UnreadableEvent("not_an_event", "data_base64 is not base64", "data_base64", value) from None
    return parse(data)


def unreadable(error: ValidationError, unread: Unread) -> UnreadableEvent:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:LONGEST_DETAIL] or "value"
    value = reprlib.repr(first.get("input"))
    return UnreadableEvent("invalid_field", f"{field}: {first['msg']}", field, value, unread)


def parse_time(text: str | None) -> float | None:
    """Unix seconds. A time without offset is UTC; what is no time is None, since nothing depends on it."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
