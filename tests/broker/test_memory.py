"""A decode without memory, with the real coordinator: its worker is played, so that it can say that it has none."""

from __future__ import annotations

import pytest

from runtime.settings import Settings
from schemas.errors import ResourceExhausted
from schemas.events.completions import Completion, JobCompleted, JobFailed
from schemas.events.reports import Failed
from schemas.events.tasks import Task
from schemas.stage import Stage
from streams.kafka.topics import COMPLETIONS
from tests.broker.coordinating import coordinating, one_end
from tests.broker.workers import PlayedWorker
from tests.processes import Upstream, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


def ended(settings: Settings, exact: bool | None) -> tuple[Completion, list[Task]]:
    """The end of a job and its decodes, where there is memory for everything but a decode that is not in tiles."""
    worker = PlayedWorker(settings)
    with tail(settings, COMPLETIONS) as completions, coordinating(settings):
        job = Upstream(settings).submit(exact=exact)

        def end() -> Completion | None:
            for task in worker.tasks():
                if task.lease not in worker.ended:
                    work(worker, task)
            return one_end(completions, job)

        found = eventually(end, 60)
        decodes = [task for task in worker.tasks() if task.stage is Stage.DECODE]
    worker.close()
    return found, decodes


def work(worker: PlayedWorker, task: Task) -> None:
    worker.start(task)
    if task.stage is not Stage.DECODE or task.recipe.vae_tiling is not None:
        return worker.finish(task)
    error = ResourceExhausted("CUDA out of memory").report()
    worker.say(Failed.model_validate(worker.fields(task) | {"error": error, "seconds": 0.5}))
    worker.ended.add(task.lease)


def test_a_decode_without_memory_is_served_in_tiles_and_says_so(quick: Settings) -> None:
    end, decodes = ended(quick, exact=None)
    assert isinstance(end, JobCompleted)
    assert [task.recipe.vae_tiling is not None for task in decodes] == [False, False, True]
    assert (end.recipe, end.asked) == (decodes[-1].recipe, decodes[0].recipe)
    assert {each.stage: each.attempts for each in end.stages}[Stage.DENOISE] == 1


def test_where_exact_pixels_were_asked_for_it_fails(quick: Settings) -> None:
    end, decodes = ended(quick, exact=True)
    assert isinstance(end, JobFailed)
    assert end.error.code == "gpu_out_of_memory"
    assert [task.recipe.vae_tiling for task in decodes] == [None, None, None]
