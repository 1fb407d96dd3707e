"""What the read model keeps, on every database that it may live in."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from gateway.dependencies import Gateway
from gateway.read_model.batch import Batch
from gateway.read_model.read_model import ReadModel
from gateway.read_model.rows import Row
from gateway.read_model.tables import metadata
from schemas.catalogue import VideoRecord, record_of
from schemas.events.artifacts import ObjectRef
from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from streams.coordinator.core.transitions import deleted
from tests.postgres import Postgres
from tests.unit.gateway.samples import NOW, SOME, asked, job, running, step_of, taken, with_done


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'jobs.sqlite'}"
        return
    server: Postgres = request.getfixturevalue("server")
    yield server.url
    engine = create_engine(server.url)
    metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def model(url: str) -> Iterator[ReadModel]:
    model = ReadModel(url)
    model.open_source("log", 0.0)
    yield model
    model.close()


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


def test_steps_count_that_come_before_the_job_and_none_that_come_after_its_end(model: ReadModel) -> None:
    state = with_done(job(), Stage.ENCODE)
    taken(model, steps=[step_of(state, 8).replace(preview_step=7), step_of(state, 2, lease=2)])
    taken(model, running(state, lease=2))
    row = model.get("default", state.job)
    assert row is not None
    assert (row.percent, row.step, row.preview_step) == (72, 2, 7)
    taken(model, state.model_copy(update={"status": JobStatus.CANCELLED, "version": 9}))
    ended = model.get("default", state.job)
    taken(model, steps=[step_of(state, 9, lease=2).replace(preview_step=9)])
    assert model.get("default", state.job) == ended


def test_a_step_that_tells_less_than_the_state_takes_nothing_back(model: ReadModel) -> None:
    state = with_done(job(), Stage.ENCODE)
    taken(model, running(state))
    taken(model, steps=[step_of(state, 0).replace(stage=Stage.ENCODE)])
    row = model.get("default", state.job)
    assert row is not None
    assert row.percent == 3


def test_an_expected_job_is_seen_but_listed_only_when_the_line_tells_of_it(model: ReadModel) -> None:
    state = job()
    assert model.expect([state]) == [0]
    row = model.get("default", state.job)
    assert row is not None
    assert row.version == 0
    assert model.expected("default", NOW - 1) == [state.job]
    assert model.page("default", None, 20, True) == ([], False)
    taken(model, state)
    assert model.expect([state.model_copy(update={"priority": 9})]) == [0]
    assert model.expected("default", NOW - 1) == []
    assert [row.state for row in model.page("default", None, 20, True)[0]] == [state]


def test_what_is_deleted_is_nobodys_and_stays_it(model: ReadModel) -> None:
    state, other = job(), job(1)
    taken(model, state, other)
    model.hide(state.job)
    taken(model, state.model_copy(update={"version": 2}), other.model_copy(update={"version": 2, "deleting": True}))
    for hidden in (state, other):
        assert model.get("default", hidden.job) is None
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


def test_any_text_may_be_asked_for(model: ReadModel) -> None:
    for name in ("", "\0", "video_\0", "'; drop table jobs; --", "\U0001f3ac" * 500, "%", "../.."):
        assert model.find(name) is None


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_gateways_that_share_a_database_open_it_together_and_never_wait_for_each_other(url: str) -> None:
    """SQLite is never shared. Each feed takes the same jobs, in batches of its own: here in opposite orders."""
    states = [job(number) for number in range(40)]

    def live(order: int) -> int:
        model = ReadModel(url)
        model.open_source("log", 0.0)
        for version in range(2, 12):
            taken(model, *[state.model_copy(update={"version": version}) for state in states[::order]])
        found = [model.find(state.job) for state in states]
        model.close()
        return min(row.version for row in found if row is not None)

    with ThreadPoolExecutor(4) as gateways:
        assert list(gateways.map(live, [1, -1, 1, -1])) == [11] * 4


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_database_that_is_away_is_a_503_until_it_is_back(
    gateway: Gateway, model: ReadModel, server: Postgres
) -> None:
    taken(model, job())
    known = replace(gateway, model=model)
    assert asked(known, "GET", SOME).status_code == 200
    server.stop()
    answer = asked(known, "GET", SOME)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "temporarily_unavailable")
    assert answer.headers["x-should-retry"] == "true"
    server.start()
    assert asked(known, "GET", SOME).status_code == 200


def test_tables_of_an_earlier_release_are_made_anew(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as old:
        old.execute("create table jobs (job text primary key, state blob)")
    model = ReadModel.in_folder(tmp_path)
    taken(model, job())
    assert model.find(job().job) is not None
    model.close()


def finished(number: int, **changes: Any) -> JobState:
    state = job(number)
    video = ObjectRef(name="video", key=f"videos/default/{state.job}/v.mp4", size=1, sha256="0")
    done = {"status": JobStatus.COMPLETED, "ended_at": NOW + 9, "version": 5, "video": video}
    return state.model_copy(update=done | changes)


def told(model: ReadModel, *events: JobState | VideoRecord | str | tuple[str]) -> None:
    """Each in a batch of its own: states, records of the catalogue, tombstones of `jobs` and, in a tuple, of those."""
    for event in events:
        batch = Batch()
        if isinstance(event, JobState):
            batch.state(event.job, event, event.to_bytes())
        elif isinstance(event, VideoRecord):
            batch.videos[event.job] = event
        elif isinstance(event, str):
            batch.state(event, None)
        else:
            batch.videos[event[0]] = None
        model.take(batch, NOW)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_job_that_is_forgotten_is_what_the_catalogue_says_whatever_was_read_first(
    model: ReadModel, before: int
) -> None:
    """The two topics come in no order between them: so many records of `jobs` come first."""
    state = finished(1)
    record = record_of(state)
    assert record is not None
    events: list[JobState | VideoRecord | str] = [state, state.job]
    told(model, *events[:before], record, *events[before:])
    row = model.get("default", state.job)
    assert row is not None
    assert (row.record, row.state.recipe, row.percent, row.state.video) == (record, None, 100, state.video)
    assert [each.state.job for each in model.page("default", None, 5, True)[0]] == [state.job]
    assert model.get("mallory", state.job) is None
    told(model, (state.job,))
    assert model.get("default", state.job) is None


def test_a_job_that_is_remembered_says_more_than_its_record(model: ReadModel) -> None:
    state = finished(1)
    record = record_of(state)
    assert record is not None
    told(model, record, state, record)
    row = model.get("default", state.job)
    assert row is not None
    assert (row.record, row.state.recipe) == (None, state.recipe)
    told(model, (state.job,))
    assert model.get("default", state.job) is not None, "its job has not been told of as deleted"
    told(model, deleted(state, NOW).replace(version=6))
    assert model.get("default", state.job) is None


def test_an_expired_video_is_nobodys_from_that_second_on(model: ReadModel) -> None:
    states = [finished(1, expires_at=time.time() - 1), finished(2, expires_at=time.time() + 100)]
    told(model, *states)
    assert model.get("default", states[0].job) is None
    assert [row.state.job for row in model.page("default", None, 5, True)[0]] == [states[1].job]


def test_what_is_deleted_is_gone_from_the_files_of_the_database(tmp_path: Path) -> None:
    """SQLite leaves what a row said in the free space of its page and in its log, unless it is told otherwise."""
    words = "a prompt that nobody may find again"
    model = ReadModel.in_folder(tmp_path)
    model.open_source("log", 0.0)
    states = [saying(f"{words} {number}", number) for number in range(50)]
    model.expect(states)
    taken(model, *states)
    assert found_in(tmp_path, words)
    taken(model, *(deleted(state, NOW).replace(version=9) for state in states[:25]))
    batch = Batch()
    for state in states[25:]:
        batch.state(state.job, None)
    model.take(batch, NOW)
    model.erase(now=100.0)
    assert not found_in(tmp_path, words)
    model.close()


def test_a_reader_at_work_puts_the_erasure_off(tmp_path: Path) -> None:
    model = ReadModel.in_folder(tmp_path)
    model.open_source("log", 0.0)
    taken(model, saying("a prompt that is read just now"))
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        taken(model, deleted(job(), NOW).replace(version=9))
        model.erase(now=100.0)
        assert found_in(tmp_path, "read just now")
    model.erase(now=101.0)
    assert found_in(tmp_path, "read just now"), "it is tried again some seconds later, not at once"
    model.erase(now=200.0)
    assert not found_in(tmp_path, "read just now")
    model.close()


def saying(words: str, number: int = 0) -> JobState:
    state = job(number)
    assert state.recipe is not None
    return state.replace(recipe=state.recipe.replace(prompt=words))


def found_in(folder: Path, words: str) -> bool:
    return any(words.encode() in path.read_bytes() for path in folder.iterdir())
