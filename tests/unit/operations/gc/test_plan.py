"""What may be freed: nothing that a job holds, nothing young, no finished video; and how it is counted."""

from __future__ import annotations

import pytest

from operations.audit.object_places import Kind, Place, place_of
from operations.audit.objects import StoreListing
from operations.gc.catalogue import Catalogue, Video
from operations.gc.plan import Usage, unreferenced, usage
from operations.gc.references import References, references_of
from schemas.events.artifacts import Manifest, ObjectRef
from schemas.job import JobState, JobStatus, StageState
from schemas.stage import STAGES, Stage
from stages.storage.object_store import Stored
from streams.coordinator.core.transitions import deleted, new_job, with_recipe
from tests.contract.examples import RECIPE

OLD, YOUNG, NOW = 100.0, 900.0, 1000.0
GRACE_ENDS = 500.0
LATENTS = "artifacts/acme/denoise/k"
VIDEO = "videos/acme/video_1"


def manifest(folder: str, *names: str) -> Manifest:
    refs = tuple(ObjectRef(name=name, key=f"{folder}/{name}", size=1, sha256="0") for name in names)
    return Manifest(stage=Stage.DENOISE, key="k", lease=1, objects=refs)


def listing(
    modified: float = OLD, manifests: dict[str, Manifest | None] | None = None, **objects: float
) -> StoreListing:
    """A denoise's output: latents, one that a killed upload left, a checkpoint. `objects`: others' times by name."""
    names = {
        f"{LATENTS}/latents": modified,
        f"{LATENTS}/left": modified,
        f"{LATENTS}/checkpoint/c/000004-1-d": modified,
    }
    whole = {f"{LATENTS}/manifest.json": manifest(LATENTS, "latents")} if manifests is None else manifests
    times = names | dict.fromkeys(whole, modified) | {f"{LATENTS}/{name}": time for name, time in objects.items()}
    return StoreListing({key: Stored(10, time) for key, time in times.items()}, whole)


def refers(tenant: str = "acme", stage: Stage = Stage.DENOISE, key: str = "k", name: str = "video_2") -> References:
    """A job under way that refers to one output."""
    state = new_job(name, tenant, "b", OLD, stages={stage: StageState(key=key)})
    return references_of([state])


def nobody() -> References:
    """No job; every video that is kept is in the catalogue."""
    return References(catalogue=Catalogue(is_filled=True))


def keys(found: StoreListing, references: References) -> list[str]:
    """What is loose, without its folder."""
    return sorted(
        key.removeprefix(f"{LATENTS}/") for each in unreferenced(found, references, GRACE_ENDS) for key in each.keys
    )


def test_what_no_job_holds_goes_as_a_whole() -> None:
    assert keys(listing(), nobody()) == ["checkpoint/c/000004-1-d", "latents", "left", "manifest.json"]


def test_of_what_a_job_holds_only_what_no_manifest_names_goes() -> None:
    assert keys(listing(), refers()) == ["checkpoint/c/000004-1-d", "left"]


def test_before_there_is_a_manifest_everything_held_stays() -> None:
    assert keys(listing(manifests={}), refers()) == []
    assert keys(listing(manifests={f"{LATENTS}/manifest.json": None}), refers()) == []


def test_nothing_young_goes_nor_the_folder_that_it_is_in() -> None:
    assert keys(listing(YOUNG), nobody()) == []
    assert keys(listing(new=YOUNG), nobody()) == []
    assert keys(listing(new=YOUNG), refers()) == ["checkpoint/c/000004-1-d", "left"]


@pytest.mark.parametrize(
    "other", [("globex", Stage.DENOISE, "k"), ("acme", Stage.DECODE, "k"), ("acme", Stage.DENOISE, "k2")]
)
def test_another_tenant_stage_or_key_holds_nothing_of_it(other: tuple[str, Stage, str]) -> None:
    assert "latents" in keys(listing(), refers(*other))


def video(*manifests: str) -> StoreListing:
    names = [f"{VIDEO}/a.mp4", f"{VIDEO}/old.mp4", *manifests]
    return StoreListing({key: Stored(10, OLD) for key in names}, {key: manifest(VIDEO, "a.mp4") for key in manifests})


def catalogued(tenant: str = "acme") -> References:
    return References(catalogue=Catalogue(videos={"video_1": Video(tenant, 0, None, True)}, is_filled=True))


def test_a_video_stays_as_long_as_it_is_catalogued_and_what_a_killed_upload_left_beside_it_goes() -> None:
    [found] = unreferenced(video(f"{VIDEO}/manifest.json"), catalogued(), GRACE_ENDS)
    assert found.keys == (f"{VIDEO}/old.mp4",)
    [found] = unreferenced(video(f"{VIDEO}/manifest.json"), nobody(), GRACE_ENDS)
    assert found.whole
    [found] = unreferenced(video(f"{VIDEO}/manifest.json"), catalogued("globex"), GRACE_ENDS)
    assert found.whole


def test_no_finished_video_goes_before_the_catalogue_is_filled() -> None:
    [found] = unreferenced(video(f"{VIDEO}/manifest.json"), References(), GRACE_ENDS)
    assert found.keys == (f"{VIDEO}/old.mp4",)


def test_an_unfinished_video_stays_while_its_job_is_known() -> None:
    assert unreferenced(video(), refers(name="video_1"), GRACE_ENDS) == []
    [found] = unreferenced(video(), nobody(), GRACE_ENDS)
    assert len(found.keys) == 2


def test_what_a_deleted_job_has_left_goes_however_young_it_is_but_for_what_another_job_refers_to() -> None:
    gone = deleted(job("video_1", "k", JobStatus.COMPLETED, 600.0), NOW)
    references = References()
    references.take("video_1", gone)
    young = video(f"{VIDEO}/manifest.json")
    assert [each.whole for each in unreferenced(young, references, 0.0)] == [True]
    assert len(keys(listing(YOUNG), references)) == 4
    references.take("video_2", job("video_2", "k"))
    assert keys(listing(YOUNG), references) == []
    references.take("video_2", deleted(job("video_2", "k", JobStatus.FAILED, 600.0), NOW))
    assert len(keys(listing(YOUNG), references)) == 4
    for name in ("video_1", "video_2"):
        references.take(name, None)
    assert keys(listing(YOUNG), references) == []


def test_what_is_not_laid_out_by_the_line_is_left_alone() -> None:
    strange = {"models/tiny/r1/manifest.json": Stored(1, OLD), "artifacts/readme.txt": Stored(1, OLD)}
    assert unreferenced(StoreListing(strange), nobody(), GRACE_ENDS) == []
    assert place_of("artifacts/a/denoise/k/checkpoint/c/1") == Place(
        "artifacts/a/denoise/k", "a", "denoise", "k", Kind.CHECKPOINT
    )


def job(name: str, key: str, status: JobStatus = JobStatus.WAITING, ended_at: float | None = None) -> JobState:
    state = with_recipe(new_job(name, "acme", "b", OLD), RECIPE, dict.fromkeys(STAGES, key), OLD)
    return state.model_copy(update={"status": status, "ended_at": ended_at})


def test_a_job_refers_to_its_outputs_until_some_time_after_its_end() -> None:
    states = [
        job("live", "a"), job("late", "b", JobStatus.FAILED, 600.0), job("early", "c", JobStatus.COMPLETED, 400.0),
    ]  # fmt: skip
    assert held(references_of(states, ended_after=GRACE_ENDS)) == {"a", "b"}
    assert held(references_of(states)) == {"a", "b", "c"}


def held(references: References) -> set[str]:
    places = {key: Place(f"artifacts/acme/denoise/{key}", "acme", "denoise", key, Kind.ARTIFACT) for key in "abc"}
    return {key for key, place in places.items() if place in references}


def test_a_deleted_job_holds_nothing_nor_does_a_wish_for_one_that_nobody_submitted() -> None:
    gone = job("gone", "a").model_copy(update={"status": JobStatus.DELETED})
    wish = job("wish", "b").model_copy(update={"body_digest": ""})
    assert held(references_of([gone, wish])) == set()


def test_usage_counts_by_tenant_stage_and_kind_and_names_what_could_be_freed() -> None:
    both = listing(YOUNG)
    objects = {**both.objects, **video(f"{VIDEO}/manifest.json").objects}
    manifests = {**both.manifests, **video(f"{VIDEO}/manifest.json").manifests}
    assert usage(StoreListing(objects, manifests), refers()) == {
        ("acme", "denoise", Kind.ARTIFACT): Usage(2, 20),
        ("acme", "denoise", Kind.ORPHAN): Usage(2, 20),
        ("acme", "mux", Kind.ORPHAN): Usage(1, 10),
        ("acme", "mux", Kind.VIDEO): Usage(2, 20),
    }
