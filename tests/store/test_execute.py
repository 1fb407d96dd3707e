"""One task from start to end on the real store: computed once, answered from its manifest, repaired when condemned."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import urllib3

from runtime.settings import Settings
from schemas.bundle import read_bundles
from schemas.errors import Cancelled, InputLost, Preempted, StoreUnavailable
from schemas.events.artifacts import ArtifactRef
from schemas.events.prompts import PromptSubmitted
from schemas.events.tasks import Task
from schemas.limits import recipe_of
from schemas.stage import Stage
from stages.contract import Blob, Checkpoint, Context, Output
from stages.execution.execute import execute
from stages.execution.in_process import Undisturbed
from stages.results import Result
from stages.storage.artifacts import ArtifactStore
from stages.storage.checkpoints import StoredCheckpoints

BUNDLE = Path("bundles/tiny")


@dataclass
class Shout:
    """A stage without a model: its output is its input (or its prompt) in capitals."""

    stage: Stage = Stage.ENCODE
    reads: tuple[str, ...] = ()
    runs: list[int] = field(default_factory=list)
    together: Barrier = field(default_factory=lambda: Barrier(1))

    def run(self, task: Task, inputs: Mapping[str, bytes], context: Context) -> Output:
        self.runs.append(task.lease)
        self.together.wait(timeout=30)
        said = inputs["said"] if self.reads else task.recipe.prompt.encode()
        return Output((Blob("said", said.upper()),), facts={"length": len(said)})


class Interrupted(Undisturbed):
    def raise_if_interrupted(self) -> None:
        raise Cancelled("asked by the user")


@pytest.fixture
def store(line: Settings) -> ArtifactStore:
    secret = line.store_secret_key.get_secret_value()
    return ArtifactStore.connect(line.store_endpoint, line.store_access_key, secret, line.store_bucket)


def task(lease: int = 1, condemned: str | None = None, upstream: ArtifactRef | None = None) -> Task:
    recipe = recipe_of(PromptSubmitted(prompt="quiet"), "video_test", read_bundles([BUNDLE]), "tiny")
    stage, key = (Stage.DENOISE, "key-2") if upstream else (Stage.ENCODE, "key-1")
    return Task(
        incarnation="i", lease=lease, job="video_test", tenant="t", stage=stage, key=key, recipe=recipe,
        attempt=1, condemned_etag=condemned, upstream=upstream,
    )  # fmt: skip


def done(store: ArtifactStore, asked: Task, runner: Shout) -> Result:
    return execute(asked, runner, store, Undisturbed(), "any")


def content(store: ArtifactStore, result: Result) -> bytes:
    """Past the cache of who wrote it."""
    return ArtifactStore(store.client, store.bucket).read(result.objects[0], result.artifact)


def second_stage() -> Shout:
    return Shout(stage=Stage.DENOISE, reads=("said",))


def test_a_task_is_computed_once_and_then_answered_from_its_manifest(store: ArtifactStore) -> None:
    runner = Shout()
    first, second = done(store, task(1), runner), done(store, task(2), runner)
    assert runner.runs == [1]
    assert (first.reused, second.reused) == (False, True)
    assert (second.artifact, second.objects, second.facts) == (first.artifact, first.objects, {"length": 5})
    assert second.seconds == 0.0
    assert content(store, first) == b"QUIET"


def test_the_next_stage_reads_what_the_manifest_promises(store: ArtifactStore) -> None:
    upstream = done(store, task(1), Shout()).artifact
    assert content(store, done(store, task(2, upstream=upstream), second_stage())) == b"QUIET"


def test_a_condemned_etag_is_computed_again_and_replaced(store: ArtifactStore) -> None:
    runner = Shout()
    old = done(store, task(1), runner).artifact
    new = done(store, task(2, condemned=old.etag), runner)
    assert runner.runs == [1, 2]
    assert not new.reused
    assert new.artifact.etag != old.etag
    found = store.find(store.folder_of(task()))
    assert found is not None
    assert found.ref == new.artifact


def test_repair_puts_a_corrupt_object_again(store: ArtifactStore) -> None:
    old = done(store, task(1), Shout())
    store._put(old.objects[0].key, b"quiEt", "text/plain")
    new = done(store, task(2, condemned=old.artifact.etag), Shout())
    assert content(store, new) == b"QUIET"


def test_who_repairs_late_takes_the_repaired_output(store: ArtifactStore) -> None:
    runner = Shout()
    old = done(store, task(1), runner).artifact
    repaired = done(store, task(2, condemned=old.etag), runner).artifact
    late = done(store, task(3, condemned=old.etag), runner)
    assert (late.reused, late.artifact) == (True, repaired)


def lose_object(store: ArtifactStore, made: Result) -> None:
    store.remove(made.objects[0].key)


def corrupt_object(store: ArtifactStore, made: Result) -> None:
    store._put(made.objects[0].key, b"quiEt", "text/plain")


def lose_manifest(store: ArtifactStore, made: Result) -> None:
    store.remove(made.artifact.manifest_key)


def corrupt_manifest(store: ArtifactStore, made: Result) -> None:
    store._put(made.artifact.manifest_key, b"{torn", "application/json")


FAULTS = {
    "object said is missing": lose_object,
    "object said does not match its digest": corrupt_object,
    "the manifest is missing": lose_manifest,
    "the manifest is corrupt": corrupt_manifest,
}


@pytest.mark.parametrize("why", FAULTS)
def test_lost_input_names_stage_key_and_etag(why: str, store: ArtifactStore) -> None:
    made = done(store, task(1), Shout())
    FAULTS[why](store, made)
    reader, runner = ArtifactStore(store.client, store.bucket), second_stage()
    with pytest.raises(InputLost, match=why) as lost:
        done(reader, task(2, upstream=made.artifact), runner)
    assert (lost.value.stage, lost.value.key, lost.value.etag) == (Stage.ENCODE, "key-1", made.artifact.etag)
    assert runner.runs == []


@pytest.mark.parametrize("fault", [lose_object, lose_manifest, corrupt_manifest])
def test_an_output_that_is_not_whole_is_no_answer(fault: Any, store: ArtifactStore) -> None:
    runner = Shout()
    fault(store, done(store, task(1), runner))
    again = done(store, task(2), runner)
    assert runner.runs == [1, 2]
    assert content(store, again) == b"QUIET"
    assert done(store, task(3), runner).artifact == again.artifact


def test_of_concurrent_runs_of_one_key_all_report_the_one_manifest(store: ArtifactStore) -> None:
    racers = 6
    runner = Shout(together=Barrier(racers))
    with ThreadPoolExecutor(racers) as threads:
        results = list(threads.map(lambda lease: done(store, task(lease), runner), range(1, racers + 1)))
    assert sorted(runner.runs) == list(range(1, racers + 1))
    assert len({result.artifact.etag for result in results}) == 1
    found = store.find(store.folder_of(task()))
    assert found is not None
    assert found.ref == results[0].artifact


class CutOff(ArtifactStore):
    """The real store, whose connection is cut before the second object is in."""

    puts = 0

    def _put(self, key: str, data: bytes, media_type: str) -> bool:
        self.puts += 1
        if self.puts > 1:
            raise urllib3.exceptions.ProtocolError("connection cut in the middle of the upload")
        return super()._put(key, data, media_type)


class Pair(Shout):
    """Two objects."""

    def run(self, task: Task, inputs: Mapping[str, bytes], context: Context) -> Output:
        whole = super().run(task, inputs, context)
        return Output((*whole.objects, Blob("echo", b"quiet again")), facts=whole.facts)


def test_an_upload_that_is_cut_leaves_no_output(store: ArtifactStore) -> None:
    with pytest.raises(StoreUnavailable):
        done(CutOff(store.client, store.bucket, attempts=1), task(1), Pair())
    assert store.find(store.folder_of(task())) is None
    assert not done(store, task(2), Pair()).reused


def test_a_checkpoint_is_found_in_its_own_bit_class_alone(store: ArtifactStore) -> None:
    saved = Checkpoint(3, b"the whole solver state")
    StoredCheckpoints.of(store, task(1), "cpu-1").save(saved)
    assert StoredCheckpoints.of(store, task(2), "cpu-1").latest() == saved
    assert StoredCheckpoints.of(store, task(2), "cpu-2").latest() is None


class LosesAnswers(urllib3.PoolManager):
    """The real client, whose request arrives and whose first `losses` answers do not."""

    def __init__(self, losses: int) -> None:
        super().__init__(timeout=20.0, retries=False)
        self.losses = losses

    def request(self, *arguments: Any, **options: Any) -> Any:
        answer = super().request(*arguments, **options)
        if self.losses > 0:
            self.losses -= 1
            raise urllib3.exceptions.ProtocolError("connection reset before the answer was read")
        return answer


@pytest.fixture(params=[None, "condemned"])
def condemned(request: pytest.FixtureRequest, store: ArtifactStore) -> str | None:
    """Both conditions: nothing is there (If-None-Match), or a condemned manifest is (If-Match)."""
    return done(store, task(1), Shout()).artifact.etag if request.param else None


def test_a_publication_that_loses_against_itself_reports_what_is_there(
    store: ArtifactStore, condemned: str | None
) -> None:
    """The manifest went up and the answer was lost: the second try finds the first one's work, and it is ours."""
    unlucky = ArtifactStore(store.client, store.bucket, _http=LosesAnswers(1))
    result = done(unlucky, task(7, condemned=condemned), Shout())
    found = store.find(store.folder_of(task()))
    assert found is not None
    assert (found.manifest.lease, found.ref) == (7, result.artifact)
    assert result.artifact.etag != condemned


def test_when_every_answer_is_lost_the_store_is_unavailable_and_the_next_try_reuses(store: ArtifactStore) -> None:
    deaf = ArtifactStore(store.client, store.bucket, attempts=2, _http=LosesAnswers(100))
    with pytest.raises(StoreUnavailable):
        done(deaf, task(1), Shout())
    assert done(store, task(2), Shout()).reused


def test_who_is_cancelled_after_computing_publishes_nothing(store: ArtifactStore) -> None:
    with pytest.raises(Cancelled):
        execute(task(1), Shout(), store, Interrupted(), "any")
    assert store.find(store.folder_of(task())) is None


@dataclass
class InterruptedLater(Undisturbed):
    """From its `last` look on."""

    error: type[Exception] = Cancelled
    last: int = 2
    looks: int = 0

    def raise_if_interrupted(self) -> None:
        self.looks += 1
        if self.looks >= self.last:
            raise self.error("asked by the user")


def test_who_is_cancelled_while_uploading_publishes_nothing_and_who_is_to_leave_does(store: ArtifactStore) -> None:
    with pytest.raises(Cancelled):
        execute(task(1), Shout(), store, InterruptedLater(), "any")
    assert store.list(store.folder_of(task()))
    assert store.find(store.folder_of(task())) is None
    execute(task(2), Shout(), store, InterruptedLater(Preempted), "any")
    assert store.find(store.folder_of(task())) is not None


def test_a_task_without_the_upstream_it_needs_is_a_bug(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="names no upstream output"):
        done(store, task(1), Shout(reads=("said",)))
