"""Server-sent events."""

from __future__ import annotations

import orjson
import pytest

from gateway.api.events import Mark, Told
from gateway.dependencies import Gateway
from gateway.read_model.eta import EtaEstimator
from gateway.read_model.read_model import ReadModel
from gateway.read_model.rows import Row
from gateway.video import video_of
from schemas.job import JobStatus
from schemas.job_progress import percent_of_step
from schemas.stage import Stage
from tests.unit.gateway.samples import NOW, SOME, asked, job, running, taken, with_done


@pytest.mark.parametrize("text", [None, "", "x", "1", "1.2.3", "-1.0", "٣.1", "9" * 50 + ".1"])
def test_an_event_id_of_somebody_elses_is_as_good_as_none(text: str | None) -> None:
    assert Mark.of(text) == Mark()
    assert Mark.of(str(Mark(7, 3))) == Mark(7, 3)


def test_a_step_is_told_once_a_second_and_a_change_at_once() -> None:
    model, pace = ReadModel("sqlite://"), EtaEstimator()
    told, state = Told(Mark()), running(with_done(job(), Stage.ENCODE))

    def word(version: int, step: int, now: float, ended: bool = False) -> str | None:
        row = Row(state, version, percent_of_step(Stage.DENOISE, step, 10), step=step, steps=10)
        return told.word_for(Mark.at(row), video_of(row, model, pace), ended, now)

    assert [word(1, 0, 0.0), word(1, 1, 0.5), word(1, 2, 1.1), word(1, 2, 9.0)] == ["status", None, "progress", None]
    assert [word(2, 2, 9.1), word(2, 3, 9.2), word(3, 3, 9.3, ended=True)] == ["status", None, "done"]
    row = Row(state, 3, 30, step=4, steps=10, preview_step=4)
    assert told.word_for(Mark.at(row), video_of(row, model, pace), False, 20.0) == "preview"
    resumed = Told(Mark(1, 2))
    row = Row(state, 1, 20, step=2, steps=10)
    assert resumed.word_for(Mark.at(row), video_of(row, model, pace), False, 0.0) is None
    model.close()


def test_the_events_of_an_ended_job_are_its_end(gateway: Gateway) -> None:
    taken(gateway.model, job(status=JobStatus.CANCELLED, cancel_reason="enough", ended_at=NOW, version=7))
    answer = asked(gateway, "GET", f"{SOME}/events", headers={"last-event-id": "6.0"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    lines = dict(line.split(": ", 1) for line in answer.text.splitlines() if line)
    assert (lines["event"], lines["id"]) == ("done", "7.0")
    assert orjson.loads(lines["data"]) == asked(gateway, "GET", SOME).json()
    assert gateway.streams["default"] == 0


def test_who_knows_the_end_gets_204_so_that_an_event_source_stays_away(gateway: Gateway) -> None:
    """A browser comes back after every other answer, with the id of the last event."""
    taken(gateway.model, job(status=JobStatus.CANCELLED, cancel_reason="enough", ended_at=NOW, version=7))
    answer = asked(gateway, "GET", f"{SOME}/events", headers={"last-event-id": "7.0"})
    assert (answer.status_code, answer.content) == (204, b"")
    taken(gateway.model, job(version=8))
    assert gateway.streams["default"] == 0


def test_a_tenant_has_so_many_streams_and_no_more(gateway: Gateway) -> None:
    taken(gateway.model, job())
    gateway.streams["default"] = gateway.settings.gateway_streams
    answer = asked(gateway, "GET", f"{SOME}/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_streams")
    assert (answer.headers["x-should-retry"], answer.headers["retry-after"]) == ("true", "5")
