"""When the janitor acts: on a deletion at once and once more, on an expiry in its time, on neither twice."""

from __future__ import annotations

from operations.gc.catalogue import Catalogue
from operations.janitor.searches import REMEMBERED_S, Search, Searches
from schemas import store_layout
from schemas.catalogue import VideoRecord
from schemas.events.artifacts import ObjectRef
from schemas.events.tenants import TenantSettings
from schemas.job import JobState, StageState
from schemas.retention import Retention
from schemas.stage import STAGES, Stage
from streams.coordinator.core.transitions import deleted, new_job

NOW, AGAIN_S, MOST = 10 * REMEMBERED_S, 600.0, 9
DAY = 24 * 3600.0


def gone(at: float = NOW) -> JobState:
    stages = {stage: StageState(key=f"k-{stage}") for stage in STAGES}
    return deleted(new_job("video_1", "acme", "b", 1.0, stages=stages), at)


def found(searches: Searches, now: float) -> list[Search]:
    return searches.take(now, MOST)


def test_all_outputs_of_a_deleted_job_are_searched_for_at_once_and_again_for_a_late_writer() -> None:
    searches = Searches(AGAIN_S)
    searches.see(new_job("video_2", "acme", "b", NOW), NOW)
    searches.see(gone(), NOW)
    [first] = found(searches, NOW)
    assert (first.job, first.tenant, first.is_again) == ("video_1", "acme", False)
    outputs = [store_layout.folder("acme", stage, f"k-{stage}", "video_1") for stage in STAGES[:-1]]
    assert first.folders == (store_layout.folder("acme", Stage.MUX, "", "video_1"), *outputs)
    assert found(searches, NOW + AGAIN_S - 1) == []
    [second] = found(searches, NOW + AGAIN_S)
    assert (second.folders, second.is_again) == (first.folders, True)
    assert found(searches, NOW + DAY) == []


def test_a_search_that_could_not_be_done_is_due_until_it_is() -> None:
    searches = Searches(AGAIN_S)
    searches.see(gone(), NOW)
    taken = found(searches, NOW)
    searches.put(taken)
    assert searches.waiting_s(NOW + 5) == 5
    assert found(searches, NOW + 5) == taken
    assert searches.waiting_s(NOW + 5) == 0


def test_one_that_begins_looks_once_more_for_what_was_deleted_lately() -> None:
    searches = Searches(AGAIN_S)
    searches.see(gone(NOW - REMEMBERED_S - 1), NOW)
    assert len(searches) == 0
    searches.see(gone(NOW - DAY / 2), NOW)
    assert [search.is_again for search in found(searches, NOW)] == [False, True]


def record(job: str, expires_at: float | None, retention: Retention | None = Retention.STANDARD) -> VideoRecord:
    video = ObjectRef(name="video", key=f"videos/acme/{job}/v.mp4", size=1, sha256="0")
    return VideoRecord(
        job=job, tenant="acme", body_digest="b", accepted_at=1.0, completed_at=2.0, retention=retention,
        expires_at=expires_at, video=video,
    )  # fmt: skip


def catalogue(*records: VideoRecord) -> Catalogue:
    made = Catalogue(seconds={Retention.STANDARD: 30 * DAY})
    for each in records:
        made.take(each.job, each, 0)
    return made


def test_a_video_is_due_in_its_time_and_one_that_is_kept_or_gone_never_is() -> None:
    made = catalogue(
        record("late", NOW + 1), record("early", NOW), record("kept", None, Retention.KEEP), record("gone", NOW)
    )
    made.take("gone", None, 0)
    assert made.due(NOW - 1, MOST) == []
    assert made.due(NOW, MOST) == ["early"]
    assert made.due(NOW, MOST) == [], "each once"
    made.again("early", NOW + 1)
    assert {*made.due(NOW + 1, MOST)} == {"early", "late"}


def test_so_many_are_due_at_a_time() -> None:
    made = catalogue(*[record(str(number), NOW) for number in range(5)])
    assert [len(made.due(NOW, 2)) for _ in range(4)] == [2, 2, 1, 0]


def test_a_video_of_before_there_were_classes_is_kept_until_an_operator_sets_otherwise() -> None:
    made = catalogue(record("earlier", None, None), record("kept", None, Retention.KEEP))
    assert made.due(NOW + 99 * DAY, MOST) == []
    made.set(TenantSettings(tenant="acme", retention_of_earlier=Retention.STANDARD, set_at=NOW))
    assert made.due(NOW + 30 * DAY - 1, MOST) == []
    assert made.due(NOW + 30 * DAY, MOST) == ["earlier"]
