"""A line whose played worker puts real objects into the real store, and computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from latentline import line as command_line
from runtime.settings import Settings
from schemas.events.artifacts import Manifest
from schemas.events.completions import Completion, JobCompleted
from schemas.events.reports import Done
from schemas.events.tasks import Task
from schemas.job import JobState
from schemas.stage import Stage
from stages.contract import Blob
from stages.storage.artifacts import ArtifactStore
from tests.broker.coordinating import one_end
from tests.broker.workers import PlayedWorker
from tests.processes import Tail, Upstream, states_of
from tests.support import eventually


class StoringWorker(PlayedWorker):
    """Computes nothing, and puts it into the store as a real one does."""

    def finish(self, task: Task) -> None:
        store, folder = command_line.store(self.settings), ArtifactStore.folder_of(task)
        name = "video" if task.stage is Stage.MUX else str(task.stage)
        ref = store.put(folder, Blob(name, task.key.encode()))
        manifest = Manifest(stage=task.stage, key=task.key, lease=task.lease, objects=(ref,))
        published = store.publish(folder, manifest)
        done = {"artifact": published.ref, "objects": published.manifest.objects, "seconds": 0.5}
        self.say(Done.model_validate(self.fields(task) | done))
        self.ended.add(task.lease)


@dataclass
class Line:
    settings: Settings
    store: ArtifactStore
    upstream: Upstream
    worker: StoringWorker
    completions: Tail
    jobs: Tail

    def left(self, *folders: str) -> set[str]:
        """What lies there; nothing said: whatever is in the store."""
        return {key for folder in folders or ("artifacts/", "videos/", "preview/") for key in self.store.list(folder)}

    def run(self, **fields: object) -> JobState:
        """A job to its end."""
        return self.end(self.upstream.submit(**fields))  # type: ignore[arg-type]

    def end(self, job: str) -> JobState:
        def ended() -> Completion | None:
            self.worker.work()
            return one_end(self.completions, job)

        assert isinstance(eventually(ended, 60), JobCompleted)
        return self.state(job, lambda state: state.status.ended)

    def state(self, job: str, is_awaited: Callable[[JobState], object]) -> JobState:
        """Its first state that is."""

        def found() -> list[JobState]:
            states = states_of(self.jobs.events())
            return [states[job]] if job in states and is_awaited(states[job]) else []

        return eventually(found)[0]

    def half_way(self, job: str) -> JobState:
        """A job under way: its encode is done, its denoise is not."""
        [task] = eventually(lambda: [task for task in self.worker.tasks() if task.job == job])
        self.worker.start(task)
        self.worker.finish(task)
        return self.state(job, lambda state: state.stages[Stage.ENCODE].artifact)

    def objects(self, state: JobState, stage: Stage) -> set[str]:
        artifact = state.stages[stage].artifact
        return set(self.store.stored(artifact.manifest_key.removesuffix("manifest.json"))) if artifact else set()


class Meanwhile(ArtifactStore):
    """The real store; before its first object goes, something happens."""

    happens: Callable[[], object] | None = None

    def remove(self, key: str) -> None:
        happens, self.happens = self.happens, None
        if happens:
            happens()
        super().remove(key)
