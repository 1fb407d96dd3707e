"""The gateway without a broker: how requests are read, what answers look like, what the read model keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from schemas.bundle import read_bundles
from schemas.errors import ErrorKind, ErrorReport
from schemas.events import ApiKey, ArtifactRef, PromptSubmitted, StepProgress
from schemas.job import Attempt, JobState, JobStatus, Lease
from schemas.keys import job_id
from schemas.stage import STAGES, Stage
from streams.gateway import intake
from streams.gateway.app import make_app
from streams.gateway.asking import asked_by, folded
from streams.gateway.creating import earlier_call, expected_state
from streams.gateway.gateway import Gateway
from streams.gateway.hub import Hub
from streams.gateway.keys import Keys, UnsafeSettings, check_mode, new_key
from streams.gateway.outer import LARGEST_BODY, Outer
from streams.gateway.pace import Pace
from streams.gateway.problems import Problem
from streams.gateway.progress import percent_of_state, percent_of_step
from streams.gateway.ranges import Span, Unsatisfiable, span_of
from streams.gateway.read_model import Batch, ReadModel, Row
from streams.gateway.retries import WINDOW_S, Retries
from streams.gateway.stream import Mark, Told
from streams.gateway.video import status_of, video_of
from streams.settings import DEFAULT_KEY, Settings

BUNDLES = read_bundles([Path("bundles/tiny")])
NOW = 1.8e9
APP = make_app()
"""Made once: it takes longer than a request."""
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"prompt": "a cat"}, {"prompt": "a cat"}),
    ({"prompt": "a cat", "seconds": "2", "size": "64x64"}, {"prompt": "a cat", "seconds": 2.0, "size": "64x64"}),
    ({"prompt": "a cat", "seconds": 2, "seed": 7}, {"prompt": "a cat", "seconds": 2.0, "seed": 7}),
    ({"prompt": "a cat", "width": 64, "height": 48}, {"prompt": "a cat", "size": "64x48"}),
    ({"prompt": "a cat", "guidance_scale": 5.5, "fps": 8}, {"prompt": "a cat", "guidance_scale": 5.5, "fps": 8}),
    ({"prompt": "a cat", "metadata": {"n": 7, "a": "b"}}, {"prompt": "a cat", "metadata": {"n": "7", "a": "b"}}),
    ({"prompt": "a cat", "webhook_url": "https://a"}, {"prompt": "a cat", "webhook_url": "https://a"}),
    ({"prompt": "a cat", "user": "u1"}, {"prompt": "a cat", "metadata": {"user": "u1"}}),
    ({"prompt": "a cat", "extra_params": '{"seed": 3}', "fps": 8}, {"prompt": "a cat", "seed": 3, "fps": 8}),
    ({"prompt": "a cat", "num_inference_steps": 4, "negative_prompt": ""},
     {"prompt": "a cat", "num_inference_steps": 4, "negative_prompt": ""}),
]  # fmt: skip


# -- requests ------------------------------------------------------------------------------------------------------


def as_form(fields: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """As the official client flattens a body into a form."""
    pairs: list[tuple[str, Any]] = []
    for name, value in fields.items():
        key = f"{prefix}[{name}]" if prefix else name
        pairs += as_form(value, key) if isinstance(value, dict) else [(key, str(value))]
    return pairs


@pytest.mark.parametrize(("sent", "meant"), CASES)
def test_json_and_form_mean_the_same(sent: dict[str, Any], meant: dict[str, Any]) -> None:
    wanted = PromptSubmitted(tenant="t", idempotency_key="k", **meant)
    assert asked_by(sent).event("t", "k") == wanted
    assert asked_by(folded(as_form(sent))).event("t", "k") == wanted


def test_null_is_unset() -> None:
    assert asked_by({"prompt": "a cat", "seed": None, "extra_params": None}) == asked_by({"prompt": "a cat"})


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        ({}, "missing_required_parameter", "prompt"),
        ({"prompt": "a cat", "sead": 1}, "unknown_parameter", "sead"),
        ({"prompt": "a cat", "seed": "x"}, "invalid_value", "seed"),
        ({"prompt": "a cat", "guidance_scale": "nan"}, "invalid_value", "guidance_scale"),
        ({"prompt": "a cat", "width": 64}, "missing_required_parameter", "height"),
        ({"prompt": "a cat", "width": 64, "height": 64, "size": "32x32"}, "invalid_value", "size"),
        ({"prompt": "a cat", "metadata": {"a": "b" * 600}}, "invalid_value", "metadata.a"),
        ({"prompt": "a cat", "metadata": "a"}, "invalid_value", "metadata"),
        ({"prompt": "a cat", "extra_params": "["}, "invalid_json", "extra_params"),
        ({"prompt": "a cat", "input_reference": "file cat.png"}, "unsupported_parameter", "input_reference"),
        ({"prompt": "a cat", "webhook_url": "ftp://a"}, "invalid_value", "webhook_url"),
    ],
)
def test_a_wrong_field_is_named(sent: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(Problem) as raised:
        asked_by(sent).event("t", "k")
    assert (raised.value.status, raised.value.code, raised.value.param) == (400, code, param)


def test_brackets_fold_into_nested_values() -> None:
    pairs: list[tuple[str, Any]] = [("a[b][c]", "1"), ("a[d]", "2"), ("tags[]", "x"), ("tags[]", "y"), ("e", "3")]
    assert folded(pairs) == {"a": {"b": {"c": "1"}, "d": "2"}, "tags": ["x", "y"], "e": "3"}


@given(st.lists(st.tuples(st.text("ab[]", max_size=8), st.text(max_size=3)), max_size=5))
def test_no_form_breaks_the_folding(pairs: list[tuple[str, Any]]) -> None:
    with suppress(Problem):
        assert isinstance(folded(pairs), dict)


# -- progress, states ----------------------------------------------------------------------------------------------


def job(number: int = 0, tenant: str = "default", **changes: Any) -> JobState:
    """A job that has just been accepted."""
    prompt = PromptSubmitted(prompt="a red circle", tenant=tenant, idempotency_key=str(number), seed=1)
    gateway = cast(Gateway, SimpleNamespace(bundles=BUNDLES, settings=Settings()))
    state = expected_state(gateway, prompt, job_id(tenant, str(number)))
    return state.model_copy(update={"accepted_at": NOW + number, **changes})


def with_done(state: JobState, *stages: Stage) -> JobState:
    ref = ArtifactRef(stage=Stage.ENCODE, key="k", manifest_key="m", etag="e")
    done = {stage: state.stages[stage].model_copy(update={"artifact": ref, "dispatches": 1}) for stage in stages}
    following = STAGES[len(stages)] if len(stages) < len(STAGES) else state.stage
    return state.model_copy(update={"stages": state.stages | done, "stage": following})


def test_percents_rise_through_the_stages_and_100_is_the_end() -> None:
    steps = [percent_of_step(stage, step, 10) for stage in STAGES for step in range(11)]
    assert steps == sorted(steps)
    assert (steps[0], max(steps)) == (0, 98)
    states = [percent_of_state(with_done(job(), *STAGES[:count])) for count in range(5)]
    assert states == [0, 3, 90, 96, 98]
    assert percent_of_state(job(status=JobStatus.COMPLETED)) == 100


@given(st.sampled_from(STAGES), st.integers(-5, 10**6), st.integers(-5, 10**6))
def test_no_step_leaves_its_stage(stage: Stage, step: int, steps: int) -> None:
    assert percent_of_step(stage, 0, 1) <= percent_of_step(stage, step, steps) <= percent_of_step(stage, 1, 1)


def test_only_four_words_leave_and_a_job_never_queues_again() -> None:
    begun = with_done(job(), Stage.ENCODE)
    words = {status: status_of(job(status=status)) for status in JobStatus}
    assert set(words.values()) == {"queued", "completed", "failed"}
    assert status_of(begun) == "in_progress"
    assert words[JobStatus.CANCELLED] == words[JobStatus.FAILED] == "failed"


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        (ErrorKind.INVALID_JOB, "invalid_value", "invalid_input"),
        (ErrorKind.RESOURCE, "gpu_out_of_memory", "gpu_out_of_memory"),
        (ErrorKind.BUG, "no_video", "internal_error"),
    ],
)
def test_why_a_job_failed(kind: ErrorKind, code: str, said: str) -> None:
    report = ErrorReport(kind=kind, code=code, message="m", field="size")
    model = ReadModel("sqlite://")
    video = video_of(Row(job(status=JobStatus.FAILED, error=report, ended_at=NOW), 3, 40), model, Pace())
    assert video.error is not None
    assert (video.status, video.progress, video.error.code, video.completed_at) == ("failed", 40, said, int(NOW))
    model.close()


def test_the_time_left_is_learned_from_completed_jobs() -> None:
    pace, waiting = Pace(), with_done(job(), Stage.ENCODE)
    assert pace.left(Row(waiting, 1)) is None
    for seconds in (1.0, 2.0, 3.0):
        stages = {stage: record.model_copy(update={"seconds": seconds}) for stage, record in waiting.stages.items()}
        pace.learn(waiting.model_copy(update={"status": JobStatus.COMPLETED, "stages": stages}))
    assert pace.left(Row(waiting, 1)) == (6.0, 8.4)
    assert pace.left(Row(waiting, 1, step=5, steps=10)) == (5.0, 7.0)


# -- the read model ------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Iterator[ReadModel]:
    model = ReadModel.in_folder(tmp_path)
    model.open_source("log", 0.0)
    yield model
    model.close()


def taken(model: ReadModel, *states: JobState, steps: Iterable[StepProgress] = ()) -> None:
    batch = Batch()
    for step in steps:
        batch.step(step)
    for state in states:
        batch.state(state.job, state, state.to_bytes())
    model.take(batch, NOW)


def step_of(state: JobState, step: int, lease: int = 1) -> StepProgress:
    return StepProgress(job=state.job, tenant=state.tenant, stage=Stage.DENOISE, lease=lease, step=step, steps=10)


def running(state: JobState, lease: int = 1, version: int = 2) -> JobState:
    held = Lease(number=lease, incarnation="i", worker="w", stage=Stage.DENOISE, partition=0, dispatched_at=NOW)
    return state.model_copy(update={"status": JobStatus.RUNNING, "lease": held, "version": version})


def test_an_older_state_replaces_no_newer_one_and_progress_never_falls(model: ReadModel) -> None:
    state = with_done(job(), Stage.ENCODE)
    taken(model, running(state), steps=[step_of(state, 8)])
    first = model.get("default", state.job)
    assert first is not None
    assert (first.step, first.percent) == (8, 72)
    again = running(state, lease=2, version=4)
    taken(model, again)
    taken(model, running(state, version=3))
    taken(model, steps=[step_of(state, 2, lease=2)])
    row = model.get("default", state.job)
    assert row is not None
    assert (row.state, row.step, row.percent) == (again, 2, 72)


def test_a_rebuilt_view_knows_how_far_a_job_came_before_it_ended(model: ReadModel) -> None:
    ended = with_done(job(), Stage.ENCODE).model_copy(update={"status": JobStatus.CANCELLED, "version": 9})
    taken(model, ended, steps=[step_of(ended, 8), step_of(ended, 2, lease=2)])
    row = model.get("default", ended.job)
    assert row is not None
    assert (row.percent, row.step) == (72, None)


def test_an_expected_job_is_seen_but_listed_only_when_the_line_tells_of_it(model: ReadModel) -> None:
    state = job()
    model.expect(state)
    row = model.get("default", state.job)
    assert row is not None
    assert row.version == 0
    assert model.expected("default", NOW - 1) == [state.job]
    assert model.page("default", None, 20, True) == ([], False)
    taken(model, state)
    model.expect(state.model_copy(update={"priority": 9}))
    assert model.expected("default", NOW - 1) == []
    assert [row.state for row in model.page("default", None, 20, True)[0]] == [state]


def test_what_is_deleted_is_nobodys_and_stays_it(model: ReadModel) -> None:
    state, other = job(), job(1)
    taken(model, state, other)
    model.hide(state.job)
    taken(model, state.model_copy(update={"version": 2}), other.model_copy(update={"version": 2, "deleting": True}))
    for deleted in (state, other):
        assert model.get("default", deleted.job) is None
    assert model.page("default", None, 20, True) == ([], False)
    assert model.find(state.job) is not None
    batch = Batch()
    batch.state(state.job, None)
    model.take(batch, NOW)
    assert model.find(state.job) is None


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_have_no_duplicate_and_no_gap_while_jobs_come_and_go(model: ReadModel, newest_first: bool) -> None:
    before = [job(number) for number in range(10, 23)]
    taken(model, *before, job(15, tenant="other"))
    seen: list[str] = []
    after: Row | None = None
    more, number = True, 100
    while more:
        rows, more = model.page("default", after, 3, newest_first)
        seen += [row.state.job for row in rows]
        after = rows[-1]
        taken(model, job(number), job(number - 99))
        model.hide(after.state.job)
        number += 1
        assert number < 200
    old = [state.job for state in before]
    wanted = old[::-1] if newest_first else old
    assert [name for name in seen if name in old] == wanted
    assert len(seen) == len(set(seen))


def test_a_view_of_another_log_or_of_long_ago_is_wiped(model: ReadModel) -> None:
    state = job()
    batch = Batch(offsets={("jobs", 0): 7})
    batch.state(state.job, state, state.to_bytes())
    model.take(batch, NOW)
    model.take(Batch(offsets={("jobs", 0): 5}), NOW)
    assert model.open_source("log", NOW - 1) == {("jobs", 0): 7}
    assert model.find(state.job) is not None
    assert model.open_source("log", NOW + 1) == {}
    assert model.find(state.job) is None
    assert model.open_source("another log", 0.0) == {}


def test_the_queue_counts_what_comes_first(model: ReadModel) -> None:
    first, second, urgent = job(1), job(2), job(3, priority=5)
    taken(model, first, second, urgent, running(job(4)))
    assert [model.ahead_of(state) for state in (first, second, urgent)] == [1, 2, 0]


@pytest.fixture
def gateway(model: ReadModel) -> Gateway:
    """One that has caught up and can reach neither broker nor store."""
    settings, away = Settings(), cast(Any, None)
    feed = cast(Any, SimpleNamespace(is_caught_up=True))
    return Gateway(settings, BUNDLES, model, Keys(settings), Hub(), feed, away, away, away, Pace())


# -- small parts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None), ("bytes=0-1", Span(0, 1)), ("bytes=4-", Span(4, 9)), ("bytes=-3", Span(7, 9)),
        ("bytes=0-99", Span(0, 9)), ("bytes=-99", Span(0, 9)), ("bytes=9-9", Span(9, 9)), ("items=0-1", None),
        ("bytes=3-1", None), ("bytes=0-1,3-4", None), ("bytes=-", None), ("bytes=a-b", None), ("bytes=٣-", None),
    ],
)  # fmt: skip
def test_ranges(header: str | None, span: Span | None) -> None:
    assert span_of(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_beyond_the_end(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        span_of(header, 10)


def test_a_silent_retry_gets_the_same_key_for_a_minute() -> None:
    now = [0.0]
    retries = Retries(lambda: now[0])
    first = retries.key_of("t", "body", is_retry=False)
    assert retries.key_of("t", "body", is_retry=True) == first
    assert retries.key_of("other", "body", is_retry=True) != first
    second = retries.key_of("t", "body", is_retry=False)
    assert second != first
    now[0] += WINDOW_S + 1
    assert retries.key_of("t", "body", is_retry=True) not in (first, second)


def test_a_retry_finds_what_another_gateway_has_made_of_the_call(gateway: Gateway) -> None:
    asked = asked_by({"prompt": "a red circle", "metadata": {"order": "7"}})
    prompt = asked.event("default", "of another gateway")
    made = expected_state(gateway, prompt, job_id("default", "of another gateway"))
    taken(gateway.model, made)
    found = earlier_call(gateway, "default", asked)
    assert found is not None
    assert found.state == made
    for other in ({"metadata": {"order": "8"}}, {"seed": 1}, {"prompt": "a blue circle"}, {"priority": 1}):
        assert earlier_call(gateway, "default", asked.model_copy(update=other)) is None
    assert earlier_call(gateway, "other", asked) is None


def test_keys_are_hashed_and_a_revoked_one_opens_nothing() -> None:
    settings = Settings(gateway_key_secret=SecretStr("s" * 32))
    keys = Keys(settings)
    key, kept = new_key("acme", "web", NOW, settings)
    assert key not in kept.to_bytes().decode()
    assert keys.tenant_of(key) is None
    keys.take(kept)
    assert (keys.tenant_of(key), keys.tenant_of(DEFAULT_KEY), keys.tenant_of("")) == ("acme", "default", None)
    assert Keys(Settings(gateway_key_secret=SecretStr("t" * 32))).tenant_of(key) is None
    keys.take(ApiKey.model_validate(kept.model_dump() | {"revoked_at": NOW + 1}))
    assert keys.tenant_of(key) is None


def test_production_refuses_what_everybody_knows() -> None:
    secret = SecretStr("s" * 32)
    with pytest.raises(UnsafeSettings, match="DEFAULT_KEY"):
        check_mode(Settings(gateway_mode="production", gateway_key_secret=secret))
    with pytest.raises(UnsafeSettings, match="KEY_SECRET"):
        check_mode(Settings(gateway_mode="production", gateway_default_key=SecretStr("")))
    safe = Settings(gateway_mode="production", gateway_default_key=SecretStr(""), gateway_key_secret=secret)
    with pytest.raises(UnsafeSettings, match="WEBHOOK_SECRET"):
        check_mode(safe)
    check_mode(safe.model_copy(update={"webhook_secret": secret}))
    check_mode(Settings())


@pytest.mark.parametrize("text", [None, "", "x", "1", "1.2.3", "-1.0", "٣.1", "9" * 50 + ".1"])
def test_an_event_id_of_somebody_elses_is_as_good_as_none(text: str | None) -> None:
    assert Mark.of(text) == Mark()
    assert Mark.of(str(Mark(7, 3))) == Mark(7, 3)


def test_a_step_is_told_once_a_second_and_a_change_at_once() -> None:
    model, pace = ReadModel("sqlite://"), Pace()
    told, state = Told(Mark()), running(with_done(job(), Stage.ENCODE))

    def word(version: int, step: int, now: float, ended: bool = False) -> str | None:
        row = Row(state, version, percent_of_step(Stage.DENOISE, step, 10), step=step, steps=10)
        return told.word_for(Mark.at(row), video_of(row, model, pace), ended, now)

    assert [word(1, 0, 0.0), word(1, 1, 0.5), word(1, 2, 1.1), word(1, 2, 9.0)] == ["status", None, "progress", None]
    assert [word(2, 2, 9.1), word(2, 3, 9.2), word(3, 3, 9.3, ended=True)] == ["status", None, "done"]
    resumed = Told(Mark(1, 2))
    row = Row(state, 1, 20, step=2, steps=10)
    assert resumed.word_for(Mark.at(row), video_of(row, model, pace), False, 0.0) is None
    model.close()


def test_a_broker_that_is_away_is_a_503_that_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "ACKNOWLEDGED_WITHIN_S", 0.3)
    door = intake.Intake(Settings(kafka_bootstrap="127.0.0.1:9"))
    with pytest.raises(Problem) as raised:
        asyncio.run(door.accept(PromptSubmitted(prompt="a cat")))
    assert (raised.value.status, raised.value.headers["x-should-retry"], raised.value.retry_after) == (503, "true", 2)
    door.close()


# -- answers -------------------------------------------------------------------------------------------------------


def asked(gateway: Gateway, method: str, path: str, key: str | None = DEFAULT_KEY, **more: Any) -> httpx.Response:
    APP.state.gateway = gateway

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Outer(APP), raise_app_exceptions=False)
        headers = more.pop("headers", {}) | ({"authorization": f"Bearer {key}"} if key else {})
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, headers=headers, **more)

    return asyncio.run(ask())


SOME = f"/v1/videos/{job().job}"
FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code", "param"),
    [
        ("GET", SOME, {"key": None}, 401, "invalid_api_key", None),
        ("GET", SOME, {"key": "wrong"}, 401, "invalid_api_key", None),
        ("GET", SOME, {}, 404, "video_not_found", "video_id"),
        ("DELETE", f"{SOME}%00", {}, 404, "video_not_found", "video_id"),
        ("GET", f"{SOME}/content", {}, 404, "video_not_found", "video_id"),
        ("GET", f"{SOME}/events", {}, 404, "video_not_found", "video_id"),
        ("GET", "/v1/videos?limit=0", {}, 400, "invalid_value", "limit"),
        ("GET", "/v1/videos?order=up", {}, 400, "invalid_value", "order"),
        ("GET", "/v1/videos?after=video_1", {}, 400, "invalid_value", "after"),
        ("GET", "/v1/nothing", {}, 404, "not_found", None),
        ("PUT", "/v1/videos", {}, 405, "method_not_allowed", None),
        ("POST", "/v1/videos", {"content": b"{"}, 415, "unsupported_media_type", None),
        ("POST", "/v1/videos", {"content": b"{", "headers": {"content-type": "application/json"}},
         400, "invalid_json", None),
        ("POST", "/v1/videos", {"json": [1]}, 400, "invalid_json", None),
        ("POST", "/v1/videos", {"json": {}}, 400, "missing_required_parameter", "prompt"),
        ("POST", "/v1/videos", {"json": {"prompt": ""}}, 400, "invalid_value", "prompt"),
        ("POST", "/v1/videos", {"json": {"prompt": "a", "size": "63x64"}}, 400, "invalid_value", "size"),
        ("POST", "/v1/videos", {"json": {"prompt": "a", "model": "sora-2"}}, 404, "model_not_found", "model"),
        ("POST", "/v1/videos", {"json": {"prompt": "a"}, "headers": {"idempotency-key": "k" * 257}},
         400, "invalid_value", "Idempotency-Key"),
        ("POST", "/v1/videos", {"json": {"prompt": "a", "webhook_url": "https://127.0.0.1/"}},
         400, "invalid_value", "webhook_url"),
        ("POST", "/v1/videos", {"content": b"--x\r\nbroken", "headers": FORM},
         400, "missing_required_parameter", "prompt"),
        ("POST", "/v1/videos", {"files": {"input_reference": ("cat.png", b"png")}, "data": {"prompt": "a"}},
         400, "unsupported_parameter", "input_reference"),
        ("POST", "/v1/videos", {"content": b" " * (LARGEST_BODY + 1), "headers": {"content-type": "application/json"}},
         413, "request_too_large", None),
        ("POST", "/v1/videos/edits", {}, 501, "not_implemented", None),
        ("POST", "/v1/videos/characters", {}, 501, "not_implemented", None),
    ],
)  # fmt: skip
def test_every_error_has_one_shape(
    gateway: Gateway, method: str, path: str, more: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    answer = asked(gateway, method, path, **more)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_limits_speak_the_lines_own_words(gateway: Gateway) -> None:
    answer = asked(gateway, "POST", "/v1/videos", json={"prompt": "a", "size": "63x64"})
    assert answer.json()["error"]["message"] == (
        "size = '63x64': both sides must be multiples of 16; nearest valid value: 64x64"
    )


def test_an_unready_gateway_asks_for_patience(gateway: Gateway) -> None:
    starting = replace(gateway, feed=cast(Any, SimpleNamespace(is_caught_up=False)))
    answer = asked(starting, "GET", SOME)
    assert (answer.status_code, answer.headers["x-should-retry"], answer.headers["retry-after"]) == (503, "true", "1")


def test_another_tenants_job_is_not_there(gateway: Gateway) -> None:
    state = job(tenant="other", status=JobStatus.COMPLETED, ended_at=NOW)
    taken(gateway.model, state)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/remix"), ("GET", "/content"),
                         ("HEAD", "/content"), ("GET", "/events"), ("GET", "/timeline")):  # fmt: skip
        answer = asked(gateway, method, f"/v1/videos/{state.job}{path}")
        assert answer.status_code == 404
    assert asked(gateway, "GET", f"/v1/videos?after={state.job}").status_code == 400
    assert asked(gateway, "GET", "/v1/videos").json()["data"] == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, "video_not_ready"), ({"status": JobStatus.CANCELLED, "ended_at": NOW}, "video_failed")],
)
def test_content_that_is_not_there(gateway: Gateway, changes: dict[str, Any], code: str) -> None:
    taken(gateway.model, job(**changes))
    answer = asked(gateway, "GET", f"{SOME}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
    assert asked(gateway, "GET", f"{SOME}/content?variant=hls").json()["error"]["code"] == "variant_not_available"


def test_the_timeline_tells_every_attempt(gateway: Gateway) -> None:
    lost = Attempt(
        stage=Stage.DENOISE, lease=3, worker="w", outcome="lost", dispatched_at=NOW + 1, ended_at=NOW + 9, seconds=7.0
    )
    taken(gateway.model, running(job(attempts=(lost,))))
    moments = asked(gateway, "GET", f"{SOME}/timeline").json()["data"]
    assert [moment["what"] for moment in moments] == ["accepted", "dispatched", "lost", "dispatched"]
    video = asked(gateway, "GET", SOME)
    assert 1000 <= int(video.headers["openai-poll-after-ms"]) <= 10_000


def test_the_events_of_an_ended_job_are_its_end(gateway: Gateway) -> None:
    taken(gateway.model, job(status=JobStatus.CANCELLED, cancel_reason="enough", ended_at=NOW, version=7))
    answer = asked(gateway, "GET", f"{SOME}/events", headers={"last-event-id": "7.0"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    lines = dict(line.split(": ", 1) for line in answer.text.splitlines() if line)
    assert (lines["event"], lines["id"]) == ("done", "7.0")
    assert orjson.loads(lines["data"]) == asked(gateway, "GET", SOME).json()
    assert gateway.streams["default"] == 0


def test_a_tenant_has_so_many_streams_and_no_more(gateway: Gateway) -> None:
    taken(gateway.model, job())
    gateway.streams["default"] = gateway.settings.gateway_streams
    answer = asked(gateway, "GET", f"{SOME}/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_streams")
    assert (answer.headers["x-should-retry"], answer.headers["retry-after"]) == ("true", "5")


def test_models_say_what_they_allow(gateway: Gateway) -> None:
    [model] = asked(gateway, "GET", "/v1/models").json()["data"]
    assert (model["id"], model["x_latentline"]["limits"]["size_multiple"]) == ("tiny", 16)


def test_the_page_needs_no_key_and_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    page = asked(gateway, "GET", "/", key=None)
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in ("page.js", "page.css"):
        assert name in page.text
        assert asked(gateway, "GET", f"/{name}", key=None).status_code == 200
    assert "//" not in page.text.replace("<!doctype html>", "")
    assert asked(gateway, "GET", "/secrets", key=None).status_code == 404
