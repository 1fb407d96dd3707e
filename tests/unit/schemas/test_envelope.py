"""Records from anywhere: read as an event, or refused with a reason; nothing else ever comes out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import LONGEST_DETAIL, LONGEST_MESSAGE, MODELS, Envelope, Headers, UnreadableEvent, type_of
from schemas.errors import DEAD_LETTER_REASONS, ErrorKind
from schemas.events.prompts import PromptSubmitted
from schemas.events.reports import HeldState
from schemas.job import JobStatus
from tests.contract.examples import FIRST
from tests.unit.strategies import fields, json_values

LooseHeaders = list[tuple[str, bytes | None]]
HEADERS = [("ce_type", type_of(PromptSubmitted).encode()), ("ce_id", b"1"), ("content-type", b"application/json")]
NESTED = "[" * 1000 + "]" * 1000
EXAMPLES = pytest.mark.parametrize("example", FIRST, ids=lambda example: type(example).__name__)

names = st.sampled_from(("ce_type", "ce_id", "ce_specversion", "ce_time", "content-type", "traceparent")) | st.text()
header_values = st.none() | st.binary(max_size=40) | st.sampled_from(
    (b"1.0", b"application/cloudevents+json", b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"0001-01-01")
) | st.sampled_from([name.encode() for name in MODELS])  # fmt: skip


def outcome(value: bytes | None, headers: LooseHeaders | Headers | None) -> UnreadableEvent | None:
    """How the record is refused; None if it is read. Any other exception fails the test."""
    try:
        event, attributes = envelope.read(value, headers)
    except UnreadableEvent as error:
        return checked(error)
    assert type(event) is MODELS[attributes.type]
    return None


def checked(error: UnreadableEvent) -> UnreadableEvent:
    """It can be counted by its reason and fits into the headers of a dead letter."""
    assert error.reason in DEAD_LETTER_REASONS
    assert len(str(error)) <= LONGEST_MESSAGE
    assert all(len(part) <= LONGEST_DETAIL for part in (error.field, error.value) if part is not None)
    return error


@given(value=st.none() | st.binary() | json_values.map(orjson.dumps), headers=st.lists(st.tuples(names, header_values)))
def test_any_bytes_and_headers_are_read_or_refused(value: bytes | None, headers: LooseHeaders) -> None:
    outcome(value, headers)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def with_value(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.copy(node)
    changed[path[0]] = with_value(node[path[0]], path[1:], value)
    return changed


@EXAMPLES
@given(data=st.data())
def test_an_event_with_anything_in_any_place_is_read_or_refused(example: Frozen, data: st.DataObject) -> None:
    tree = orjson.loads(example.to_bytes())
    path = data.draw(st.sampled_from(list(places(tree))))
    spoilt = with_value(tree, path, data.draw(json_values))
    _, headers = envelope.write(example, id="1", source="test", time=0.0)
    if outcome(orjson.dumps(spoilt), headers) is None:
        event, _ = envelope.read(orjson.dumps(spoilt), headers)
        assert type(event).read(event.to_bytes()) == event


@given(asked=fields(), time=st.floats(0, 4e9).map(lambda time: round(time, 3)))
def test_what_is_written_is_read_again(asked: dict[str, Any], time: float) -> None:
    event = PromptSubmitted(**asked)
    value, headers = envelope.write(event, id="ä", source="test", time=time, subject="s", traceparent="t")
    again, attributes = envelope.read(value, headers)
    assert again == event
    assert attributes.time == pytest.approx(time, abs=1e-6)
    assert attributes.id == "ä"


@pytest.mark.parametrize(
    ("value", "headers", "reason", "field"),
    [
        (None, HEADERS, "empty", None),
        (b"", HEADERS, "not_json", None),
        (b"{'prompt': 'x'}", HEADERS, "not_json", None),
        (b'{"prompt": NaN}', HEADERS, "not_json", None),
        (b'"\\ud800"', HEADERS, "invalid_field", "value"),
        (b"{}", None, "missing_header", "ce_type"),
        (b"{}", HEADERS[:1], "missing_header", "ce_id"),
        (b"{}", [*HEADERS, ("ce_id", None)], "missing_header", "ce_id"),
        (b"{}", [*HEADERS, ("ce_specversion", b"0.3")], "unknown_specversion", "ce_specversion"),
        (b"{}", [*HEADERS, ("ce_type", b"latentline.prompt_submitted.v2")], "unknown_type", "ce_type"),
        (b"{}", [*HEADERS, ("ce_type", b"x" * 1_000_000)], "invalid_field", "ce_type"),
        (b"{}", HEADERS, "invalid_field", "prompt"),
        (b"[]", HEADERS, "invalid_field", "value"),
        (b'{"prompt": 7}', HEADERS, "invalid_field", "prompt"),
        (f'{{"prompt": {NESTED}}}'.encode(), HEADERS, "invalid_field", "prompt"),
        (b'{"prompt": "x", "tenant": "../etc"}', HEADERS, "invalid_field", "tenant"),
        (b'{"prompt": "x", "seed": "1180591620717411303424"}', HEADERS, "invalid_field", "seed"),
        (b'{"prompt": "x", "guidance_scale": "nan"}', HEADERS, "invalid_field", "guidance_scale"),
        (b'{"prompt": "x", "metadata": {"' + b"k" * 5000 + b'": [1]}}', HEADERS, "invalid_field", None),
    ],
)
def test_a_bad_record_says_why(value: bytes | None, headers: Headers, reason: str, field: str | None) -> None:
    error = outcome(value, headers)
    assert error is not None
    assert error.reason == reason
    assert field is None or error.field == field


# -- open readers, closed writers -------------------------------------------------------------------------------


@EXAMPLES
def test_a_writer_may_not_invent_a_field(example: Frozen) -> None:
    known = {name: getattr(example, name) for name in type(example).model_fields}
    with pytest.raises(ValidationError, match="from_the_future"):
        type(example).model_validate({**known, "from_the_future": 1})


@EXAMPLES
def test_words_of_a_newer_writer_become_unknown(example: Frozen) -> None:
    """Every open word of every event, at any depth."""
    text = example.to_bytes()
    for word in (HeldState.PARKED, JobStatus.RUNNING, ErrorKind.INVALID_JOB):
        newer = type(example).read(text.replace(b'"' + word.encode() + b'"', b'"from_the_future"'))
        assert type(example).read(newer.to_bytes()) == newer
        assert b"from_the_future" not in newer.to_bytes()
        assert (newer.to_bytes() != text) == (word.encode() in text)


def test_a_number_that_json_lacks_is_never_written() -> None:
    with pytest.raises(ValidationError, match="finite"):
        PromptSubmitted(prompt="x", seconds=float("nan"))


# -- structured mode, and attributes as others write them ------------------------------------------------------


def structured(**attributes: Any) -> tuple[Frozen, Envelope]:
    event = {"specversion": "1.0", "type": type_of(PromptSubmitted), "id": "7", "source": "/up", **attributes}
    content_type = b"application/cloudevents+json; charset=utf-8"
    return envelope.read(orjson.dumps(event), [("content-type", content_type)])


@given(asked=fields())
def test_structured_mode_says_the_same_as_binary_mode(asked: dict[str, Any]) -> None:
    written = PromptSubmitted(**asked)
    value, headers = envelope.write(written, id="7", source="/up", time=5.5, subject="s", traceparent="t")
    attributes = {"time": "1970-01-01T00:00:05.5Z", "subject": "s", "traceparent": "t"}
    assert structured(data=asked, **attributes) == envelope.read(value, headers)


def test_an_attribute_that_is_null_is_absent() -> None:
    _, attributes = structured(data={"prompt": "x"}, subject=None, time=None, traceparent=None)
    assert (attributes.subject, attributes.time, attributes.traceparent) == (None, None, None)


@pytest.mark.parametrize("value", [b"[]", b'"text"', b"null"])
def test_a_structured_event_is_an_object(value: bytes) -> None:
    error = outcome(value, [("content-type", b"application/cloudevents-batch+json")])
    assert error is not None
    assert error.reason == "not_an_event"


def test_a_structured_event_without_sensible_attributes_is_refused() -> None:
    error = outcome(f'{{"type": {NESTED}, "id": 1}}'.encode(), [("content-type", b"application/cloudevents+json")])
    assert error is not None
    assert (error.reason, error.field) == ("missing_header", "ce_type")


def test_the_trace_extension_of_cloudevents_is_read() -> None:
    trace = f"00-{'1' * 32}-{'2' * 16}-01"
    _, attributes = envelope.read(b'{"prompt": "x"}', [*HEADERS, ("ce_traceparent", trace.encode())])
    assert attributes.traceparent == trace
    _, attributes = envelope.read(b'{"prompt": "x"}', [*HEADERS, ("traceparent", b"00-1-2-01")])
    assert attributes.traceparent is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1970-01-01T00:01:00Z", 60.0), (b"1970-01-01T01:00:00+01:00", 0.0), (b"1970-01-01T00:00:01", 1.0),
        (b"0001-01-01T00:00:00+14:00", -62135647200.0), (b"yesterday", None), (b"", None),
    ],
)  # fmt: skip
def test_times(text: bytes, seconds: float | None) -> None:
    _, attributes = envelope.read(b'{"prompt": "x"}', [*HEADERS, ("ce_time", text)])
    assert attributes.time == seconds


# -- as standard producers write ---------------------------------------------------------------------------------

PROMPT = b'{"prompt": "x"}'
ENCODED = "eyJwcm9tcHQiOiJ4In0="


def test_names_of_headers_and_media_types_are_read_in_any_case() -> None:
    spelled = [("CE_ID", b"1"), ("Ce_Type", type_of(PromptSubmitted).encode()), ("CE_Source", b"/up")]
    event, attributes = envelope.read(PROMPT, [*spelled, ("Content-Type", b"Application/JSON; charset=UTF-8")])
    assert event == PromptSubmitted(prompt="x")
    assert (attributes.id, attributes.source) == ("1", "/up")


@pytest.mark.parametrize(
    "kind",
    ["application/CloudEvents+JSON; charset=UTF-8", "APPLICATION/CLOUDEVENTS+JSON", "application/cloudevents+json;a=b"],
)
def test_structured_mode_is_known_by_its_media_type_however_spelled(kind: str) -> None:
    event = {"specversion": "1.0", "type": type_of(PromptSubmitted), "id": "7", "data": {"prompt": "x"}}
    read, attributes = envelope.read(orjson.dumps(event), [("CONTENT-TYPE", kind.encode())])
    assert (read, attributes.id) == (PromptSubmitted(prompt="x"), "7")


@pytest.mark.parametrize("data", [ENCODED, "77u/" + ENCODED])
def test_data_may_be_encoded(data: str) -> None:
    assert structured(data_base64=data)[0] == PromptSubmitted(prompt="x")
    assert structured(data_base64=data, data=None)[0] == PromptSubmitted(prompt="x")


@pytest.mark.parametrize(
    ("attributes", "reason", "field"),
    [
        ({"data_base64": "~"}, "not_an_event", "data_base64"),
        ({"data_base64": 5}, "not_an_event", "data_base64"),
        ({"data_base64": "eA=="}, "not_json", None),
        ({"data_base64": ENCODED, "data": {"prompt": "x"}}, "not_an_event", "data_base64"),
        ({"id": "i" * 3000, "data": {"prompt": "x"}}, "invalid_field", "ce_id"),
    ],
)
def test_a_structured_event_that_cannot_be_read_says_why(attributes: Any, reason: str, field: str | None) -> None:
    with pytest.raises(UnreadableEvent) as caught:
        structured(**attributes)
    assert (checked(caught.value).reason, caught.value.field) == (reason, field)


@pytest.mark.parametrize("kind", ["application/cloudevents-batch+json", "Application/CloudEvents-Batch+JSON; a=b"])
def test_a_batch_is_refused_by_name(kind: str) -> None:
    error = outcome(b"[]", [("content-type", kind.encode())])
    assert error is not None
    assert (error.reason, error.field) == ("not_an_event", "content-type")
    assert "batch" in str(error)


@pytest.mark.parametrize("value", [b"\xef\xbb\xbf" + PROMPT, b" " + PROMPT])
def test_a_byte_order_mark_is_skipped(value: bytes) -> None:
    assert outcome(value, HEADERS) is None


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b'{"prompt": "\\ud83d x"}', "prompt"),
        (b'{"prompt": "\xed\xa0\xbd x"}', "prompt"),
        (b'{"prompt": "caf\xe9"}', "prompt"),
        (b'{"prompt": "x", "negative_prompt": "\\udc00"}', "negative_prompt"),
        (b'{"prompt": "x", "model": "\\ud83d"}', "model"),
        (b'{"prompt": "x", "size": "\\ud83d"}', "size"),
        (b'{"prompt": "x", "idempotency_key": "\\ud83d"}', "idempotency_key"),
        (b'{"prompt": "x", "metadata": {"a": "\\ud83d"}}', "metadata.a"),
        (b'{"prompt": "x", "cache": {"kind": "\\ud83d"}}', "cache.kind"),
    ],
)
def test_broken_text_is_refused_by_its_field(value: bytes, field: str) -> None:
    """Who sent it can be told, since the rest of the event is at hand."""
    error = outcome(value, HEADERS)
    assert error is not None
    assert (error.reason, error.field) == ("invalid_field", field)
    assert error.unread is not None
    assert (error.unread.model, error.unread.envelope.id) == (PromptSubmitted, "1")
    assert error.unread.data.keys() >= {"prompt"}
    for text in (str(error), error.field, error.value):
        assert text
        assert text.encode()


@pytest.mark.parametrize("name", ["metadata", "\\ud83d"])
def test_broken_text_in_a_name_breaks_nothing(name: str) -> None:
    outcome(f'{{"prompt": "x", "{name}": {{"\\ud83d": "a"}}}}'.encode(), HEADERS)


@pytest.mark.parametrize(
    "value",
    [b"[" * 900_000, b'{"prompt": "x", "metadata": {' + b'"a":1,' * 100_000 + b'"b":1}}', b'{"a":' * 100_000],
    ids=["lists", "names", "objects"],
)
def test_more_values_than_any_event_has_are_refused_before_they_are_read(
    value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "parsed", lambda value: pytest.fail("it was read"))
    error = outcome(value, HEADERS)
    assert error is not None
    assert error.reason == "too_complex"


@pytest.mark.parametrize("field", ["metadata", "runs"])
def test_names_are_counted_before_they_are_looked_at(field: str) -> None:
    """One error, where each of the values would have been one."""
    with pytest.raises(ValidationError) as caught:
        PromptSubmitted.read({"prompt": "x", field: {str(number): [] for number in range(10_000)}})
    assert caught.value.error_count() == 1


@pytest.mark.parametrize("name", ["ce_type", "ce_id", "CE_Source", "ce_time", "Content-Type", "traceparent"])
def test_a_long_header_is_refused_by_name_and_not_decoded(name: str) -> None:
    error = outcome(PROMPT, [*HEADERS, (name, b"\xff" * 5000)])
    assert error is not None
    assert (error.reason, error.field) == ("invalid_field", name.lower())
