"""What upstream services get wrong: the line stays up, and every record ends in `dlq` or in one completion."""

from __future__ import annotations

import base64
import codecs
import uuid

import orjson
import pytest

from schemas import envelope
from schemas.errors import ErrorKind
from schemas.events.completions import JobCancelled, JobCompleted, JobFailed
from schemas.events.prompts import PromptSubmitted
from schemas.stage_keys import job_id
from tests.e2e.conftest import Line
from tests.support import eventually

pytestmark = pytest.mark.broker

GOOD = "a red square moving right on a blue background"
TYPE = envelope.type_of(PromptSubmitted)


def headers(id: str, type: str = TYPE, **more: str) -> envelope.Headers:
    named = {"ce_specversion": "1.0", "ce_id": id, "ce_source": "test", "ce_type": type} | more
    return [(name, text.encode()) for name, text in named.items()]


def letter(line: Line, needle: bytes) -> dict[str, bytes]:
    """Headers of the dead letter whose value is exactly `needle`."""

    def found() -> dict[str, bytes] | None:
        return next((dict(headers) for _, value, headers in line.letters.poll() if value == needle), None)

    return eventually(found)


def serves(line: Line) -> None:
    """The line is up: the next prompt becomes a video."""
    job = line.upstream.submit(GOOD, seed=8)
    assert isinstance(line.wait_for(job)[job], JobCompleted)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{no json " + uuid.uuid4().bytes.hex().encode(), b"not_json"),
        (b'{"tenant":"acme"}', b"invalid_field"),
        (b'{"prompt":5}', b"invalid_field"),
        (b'{"prompt":"x","seed":"many"}', b"invalid_field"),
        (b'{"prompt":"x","tenant":"../../etc"}', b"invalid_field"),
        (b'["a","list"]', b"invalid_field"),
        (b'{"prompt":"half of a character \\ud83d","tenant":"../nobody"}', b"invalid_field"),
        (b"[" * 100_000, b"too_complex"),
    ],
)
def test_what_is_no_prompt_event_is_dead_lettered_as_it_came(line_of_all: Line, body: bytes, reason: bytes) -> None:
    sent = headers(uuid.uuid4().hex, ce_note="kept")
    line_of_all.upstream.send_raw(body, sent)
    found = letter(line_of_all, body)
    assert found["dlq_reason"] == reason
    assert found["dlq_origin"].startswith(b"prompts/0/")
    assert found["dlq_message"]
    assert found.items() >= dict(sent).items()
    serves(line_of_all)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ([], b"missing_header"),
        (headers("1", "latentline.prompt_submitted.v2"), b"unknown_type"),
        (headers("1", "latentline.heartbeat.v1"), b"invalid_field"),
        (headers("1", ce_specversion="2.0"), b"unknown_specversion"),
    ],
)
def test_headers_that_say_nothing_we_know(line_of_all: Line, sent: envelope.Headers, reason: bytes) -> None:
    body = orjson.dumps({"prompt": GOOD, "idempotency_key": uuid.uuid4().hex})
    line_of_all.upstream.send_raw(body, sent)
    assert letter(line_of_all, body)["dlq_reason"] == reason
    serves(line_of_all)


@pytest.mark.parametrize(
    ("fields", "field", "nearest"),
    [
        ({"model": "tinny"}, "model", "tiny"),
        ({"size": "63x64"}, "size", "64x64"),
        ({"size": "999999x999999"}, "size", None),
        ({"size": "2048x32", "num_frames": 1}, "size", "1024x32"),
        ({"size": "1040x48", "num_frames": 1}, "size", "1024x48"),
        ({"size": "32x2048", "num_frames": 1}, "size", "32x1024"),
        ({"num_frames": 18}, "num_frames", "17"),
        ({"seconds": 1e9}, "seconds", None),
        ({"fps": 0}, "fps", "1"),
        ({"num_inference_steps": 0}, "num_inference_steps", "1"),
        ({"guidance_scale": -3}, "guidance_scale", "0.0"),
        ({"seed": -2}, "seed", "0"),
        ({"width": 64}, "height", None),
        ({"prompt": "a" + "\u0301" * 31}, "prompt", None),
        ({"prompt": "\u200b\u200d \u0301"}, "prompt", None),
        ({"scheduler": "unipcc"}, "scheduler", "unipc"),
        ({"prompt": ""}, "prompt", None),
        ({"prompt": "a red\x07square"}, "prompt", None),
        ({"prompt": "red " * 500}, "prompt", None),
        ({"prompt": "x" * 1_000_000}, "prompt", None),
        ({"prompt": "red square " * 20}, "prompt", None),
    ],
)
def test_an_impossible_prompt_ends_in_one_failure_that_helps(
    line_of_all: Line, fields: dict[str, object], field: str, nearest: str | None
) -> None:
    job = line_of_all.upstream.submit(**{"prompt": GOOD} | fields)  # type: ignore[arg-type]
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobFailed)
    error = end.error
    assert (error.kind, error.field) == (ErrorKind.INVALID_JOB, field)
    assert error.value is not None
    assert len(error.message) < 500
    assert nearest is None or error.nearest == nearest


def test_emoji_and_odd_spaces_are_text_like_any_other(line_of_all: Line) -> None:
    job = line_of_all.upstream.submit("  a red   square 🎬 moving right\ton a blue background ", seed=8)
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobCompleted)
    assert end.recipe is not None
    assert end.recipe.prompt == "a red square 🎬 moving right on a blue background"


def test_fields_of_a_newer_version_are_ignored(line_of_all: Line) -> None:
    key = uuid.uuid4().hex
    line_of_all.upstream.send_raw(
        orjson.dumps({"prompt": GOOD, "seed": 8, "idempotency_key": key, "hologram": True}), headers(key)
    )
    job = job_id("default", key)
    assert isinstance(line_of_all.wait_for(job)[job], JobCompleted)


def test_a_long_run_of_accents_ends_at_once_and_holds_up_nobody(line_of_all: Line) -> None:
    """To sort these marks took the coordinator longer than its group waits for it."""
    hostile = line_of_all.upstream.submit("a" + "\u0301\u0327" * 120_000)
    other = line_of_all.upstream.submit(GOOD, seed=8, tenant="acme")
    ends = line_of_all.wait_for(hostile, other)
    end = ends[hostile]
    assert isinstance(end, JobFailed)
    assert (end.error.kind, end.error.field) == (ErrorKind.INVALID_JOB, "prompt")
    assert isinstance(ends[other], JobCompleted)


def test_what_standard_producers_write_becomes_a_video(line_of_all: Line) -> None:
    keys = [uuid.uuid4().hex for _ in range(4)]
    plain, marked, nulls, whole = (
        {"prompt": GOOD, "seed": 8, "idempotency_key": key, "metadata": {"order": 7}} for key in keys
    )
    structured = {"specversion": "1.0", "type": TYPE, "id": keys[0], "source": "/up"}
    kind = b"Application/CloudEvents+JSON; charset=UTF-8"
    encoded = structured | {"data_base64": base64.b64encode(orjson.dumps(plain)).decode()}
    line_of_all.upstream.send_raw(orjson.dumps(encoded), [("Content-Type", kind)])
    spelled = [(name.upper(), text) for name, text in headers(keys[1])]
    line_of_all.upstream.send_raw(codecs.BOM_UTF8 + orjson.dumps(marked), spelled)
    unset = dict.fromkeys(("tenant", "size", "seconds", "priority", "webhook_url", "cache"))
    line_of_all.upstream.send_raw(orjson.dumps(nulls | unset), headers(keys[2]))
    sides = {"width": 64.0, "height": 64, "seed": 8.0, "fps": "8", "num_frames": 17.0}
    line_of_all.upstream.send_raw(orjson.dumps(whole | sides), headers(keys[3]))
    jobs = [job_id("default", key) for key in keys]
    ends = line_of_all.wait_for(*jobs)
    for end in ends.values():
        assert isinstance(end, JobCompleted)
        assert end.metadata == {"order": "7"}
    end = ends[jobs[3]]
    assert end.recipe is not None
    assert (end.recipe.width, end.recipe.height, end.recipe.num_frames) == (64, 64, 17)


@pytest.mark.parametrize("broken", [b"half \\ud83d", b"half \xed\xa0\xbd", b"caf\xe9"])
def test_broken_text_fails_the_job_and_names_its_field(line_of_all: Line, broken: bytes) -> None:
    key = uuid.uuid4().hex
    body = b'{"prompt":"%s","tenant":"acme","idempotency_key":"%s"}' % (broken, key.encode())
    line_of_all.upstream.send_raw(body, headers(uuid.uuid4().hex))
    job = job_id("acme", key)
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobFailed)
    assert (end.error.kind, end.error.field) == (ErrorKind.INVALID_JOB, "prompt")
    assert letter(line_of_all, body)["dlq_reason"] == b"invalid_field"


def test_the_largest_seed_makes_a_video(line_of_all: Line) -> None:
    job = line_of_all.upstream.submit(GOOD, seed=2**64 - 1)
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobCompleted)
    assert end.recipe is not None
    assert end.recipe.seed == 2**64 - 1


def test_the_same_id_again_is_a_no_op_and_with_another_body_a_conflict(line_of_all: Line) -> None:
    key = uuid.uuid4().hex
    bodies = [orjson.dumps({"prompt": GOOD, "seed": seed, "idempotency_key": key}) for seed in (8, 8, 9)]
    for body in bodies:
        line_of_all.upstream.send_raw(body, headers(uuid.uuid4().hex))
    job = job_id("default", key)
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobCompleted)
    assert end.recipe is not None
    assert end.recipe.seed == 8
    assert letter(line_of_all, bodies[2])["dlq_reason"] == b"id_conflict"
    assert not any(value == bodies[0] for _, value, _ in line_of_all.letters.poll())
    serves(line_of_all)
    assert len(line_of_all.ends(job)) == 1


def test_nearly_a_megabyte_that_is_no_event_is_kept_whole(line_of_all: Line) -> None:
    body = b"not json at all " * 60_000
    line_of_all.upstream.send_raw(body, headers(uuid.uuid4().hex))
    assert letter(line_of_all, body)["dlq_reason"] == b"not_json"
    serves(line_of_all)


def test_a_cancel_that_overtakes_its_prompt_ends_the_job_once(line_of_all: Line) -> None:
    key = uuid.uuid4().hex
    job = job_id("default", key)
    line_of_all.upstream.cancel(job)
    for _ in range(2):
        assert line_of_all.upstream.submit(GOOD, seed=8, idempotency_key=key) == job
    serves(line_of_all)
    [end] = line_of_all.ends(job)
    assert isinstance(end, JobCancelled)
    assert end.stages[0].attempts == 0


def test_a_cancel_by_another_tenant_is_dead_lettered(line_of_all: Line) -> None:
    job = line_of_all.upstream.submit(GOOD, seed=8)
    line_of_all.upstream.cancel(job, tenant="mallory")
    eventually(
        lambda: any(dict(headers).get("dlq_reason") == b"unknown_job" for *_, headers in line_of_all.letters.poll())
    )
    assert isinstance(line_of_all.wait_for(job)[job], JobCompleted)
