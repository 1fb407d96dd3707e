"""What may be freed: nothing that a job holds, nothing young, no finished video; and how it is counted."""

from __future__ import annotations

import pytest

from schemas.events import Manifest, ObjectRef
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES, Stage
from stages.object_store import Stored
from streams.audit.objects import Shelves
from streams.coordinator.job import new_job, with_recipe
from streams.upkeep.holds import Holds, holds_of
from streams.upkeep.places import Kind, Place, place_of
from streams.upkeep.plan import Usage, loose, usage
from tests.contract.examples import RECIPE

OLD, YOUNG, NOW = 100.0, 900.0, 1000.0
GRACE_ENDS = 500.0
LATENTS = "artifacts/acme/denoise/k"
VIDEO = "videos/acme/video_1"


def manifest(folder: str, *names: str) -> Manifest:
    refs = tuple(ObjectRef(name=name, key=f"{folder}/{name}", size=1, sha256="0") for name in names)
    return Manifest(stage=Stage.DENOISE, key="k", lease=1, objects=refs)


def shelves(modified: float = OLD, manifests: dict[str, Manifest | None] | None = None, **objects: float) -> Shelves:
    """A denoise's output: latents, one that a killed upload left, a checkpoint. `objects`: others' times by name."""
    names = {
        f"{LATENTS}/latents": modified,
        f"{LATENTS}/left": modified,
        f"{LATENTS}/checkpoint/c/000004-1-d": modified,
    }
    whole = {f"{LATENTS}/manifest.json": manifest(LATENTS, "latents")} if manifests is None else manifests
    times = names | dict.fromkeys(whole, modified) | {f"{LATENTS}/{name}": time for name, time in objects.items()}
    return Shelves({key: Stored(10, time) for key, time in times.items()}, whole)


HELD = Holds(frozenset({("acme", "denoise", "k")}), frozenset())


def keys(found: Shelves, holds: Holds) -> list[str]:
    """What is loose, without its folder."""
    return sorted(key.removeprefix(f"{LATENTS}/") for each in loose(found, holds, GRACE_ENDS) for key in each.keys)


def test_what_no_job_holds_goes_as_a_whole() -> None:
    assert keys(shelves(), Holds()) == ["checkpoint/c/000004-1-d", "latents", "left", "manifest.json"]


def test_of_what_a_job_holds_only_what_no_manifest_names_goes() -> None:
    assert keys(shelves(), HELD) == ["checkpoint/c/000004-1-d", "left"]


def test_before_there_is_a_manifest_everything_held_stays() -> None:
    assert keys(shelves(manifests={}), HELD) == []
    assert keys(shelves(manifests={f"{LATENTS}/manifest.json": None}), HELD) == []


def test_nothing_young_goes_nor_the_folder_that_it_is_in() -> None:
    assert keys(shelves(YOUNG), Holds()) == []
    assert keys(shelves(new=YOUNG), Holds()) == []
    assert keys(shelves(new=YOUNG), HELD) == ["checkpoint/c/000004-1-d", "left"]


@pytest.mark.parametrize("other", [("globex", "denoise", "k"), ("acme", "decode", "k"), ("acme", "denoise", "k2")])
def test_another_tenant_stage_or_key_holds_nothing_of_it(other: tuple[str, str, str]) -> None:
    assert "latents" in keys(shelves(), Holds(frozenset({other})))


def video(*manifests: str) -> Shelves:
    names = [f"{VIDEO}/a.mp4", f"{VIDEO}/old.mp4", *manifests]
    return Shelves({key: Stored(10, OLD) for key in names}, {key: manifest(VIDEO, "a.mp4") for key in manifests})


def test_a_finished_video_stays_and_what_a_killed_upload_left_beside_it_goes() -> None:
    [found] = loose(video(f"{VIDEO}/manifest.json"), Holds(), GRACE_ENDS)
    assert found.keys == (f"{VIDEO}/old.mp4",)


def test_an_unfinished_video_stays_while_its_job_is_known() -> None:
    assert loose(video(), Holds(jobs=frozenset({"video_1"})), GRACE_ENDS) == []
    [found] = loose(video(), Holds(), GRACE_ENDS)
    assert len(found.keys) == 2


def test_what_is_not_laid_out_by_the_line_is_left_alone() -> None:
    strange = {"models/tiny/r1/manifest.json": Stored(1, OLD), "artifacts/readme.txt": Stored(1, OLD)}
    assert loose(Shelves(strange), Holds(), GRACE_ENDS) == []
    assert place_of("artifacts/a/denoise/k/checkpoint/c/1") == Place(
        "artifacts/a/denoise/k", "a", "denoise", "k", Kind.CHECKPOINT
    )


def job(name: str, key: str, status: JobStatus = JobStatus.WAITING, ended_at: float | None = None) -> JobState:
    state = with_recipe(new_job(name, "acme", "", OLD), RECIPE, dict.fromkeys(STAGES, key), OLD)
    return state.model_copy(update={"status": status, "ended_at": ended_at})


def test_a_job_holds_its_outputs_until_some_time_after_its_end() -> None:
    states = [
        job("live", "a"), job("late", "b", JobStatus.FAILED, 600.0), job("early", "c", JobStatus.COMPLETED, 400.0),
    ]  # fmt: skip
    held = holds_of(states, ended_after=GRACE_ENDS)
    assert {key for _, _, key in held.outputs} == {"a", "b"}
    assert held.jobs == {"live", "late"}
    assert {key for _, _, key in holds_of(states, 0.0).outputs} == {"a", "b", "c"}


def test_a_deleted_job_holds_nothing() -> None:
    assert holds_of([job("gone", "a", JobStatus.DELETED, 600.0)], ended_after=GRACE_ENDS) == Holds()


def test_usage_counts_by_tenant_stage_and_kind_and_names_what_could_be_freed() -> None:
    both = shelves(YOUNG)
    objects = {**both.objects, **video(f"{VIDEO}/manifest.json").objects}
    manifests = {**both.manifests, **video(f"{VIDEO}/manifest.json").manifests}
    assert usage(Shelves(objects, manifests), HELD) == {
        ("acme", "denoise", Kind.ARTIFACT): Usage(2, 20),
        ("acme", "denoise", Kind.ORPHAN): Usage(2, 20),
        ("acme", "mux", Kind.ORPHAN): Usage(1, 10),
        ("acme", "mux", Kind.VIDEO): Usage(2, 20),
    }
