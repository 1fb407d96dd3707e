"""A real worker that runs out of memory in the middle of a job: its compute child's address space is full."""

from __future__ import annotations

import resource

import psutil
import pytest

from schemas.events.completions import JobCompleted
from schemas.stage import Stage
from tests.chaos.victims import compute_children
from tests.e2e.conftest import Line
from tests.support import eventually

pytestmark = pytest.mark.broker

ROOM = 2 * 1024 * 1024
"""For Python's own small objects, and for no frame of 256x256 pixels."""


def compute_child(line: Line, name: str) -> psutil.Process:
    popen = line.services[name].popen
    assert popen is not None
    worker = psutil.Process(popen.pid)
    return eventually(lambda: list(compute_children(worker)), 60)[-1]


def fresh_child(line: Line, name: str) -> psutil.Process:
    """One that has computed nothing: what an earlier job gave back would be room for this one."""
    former = compute_child(line, name)
    former.kill()
    eventually(lambda: compute_child(line, name) != former, 60)
    line.services[name].wait_ready()
    return compute_child(line, name)


def fill(child: psutil.Process) -> None:
    limit = child.memory_info().vms + ROOM
    resource.prlimit(child.pid, resource.RLIMIT_AS, (limit, limit))


@pytest.mark.parametrize("stage", [Stage.DENOISE, Stage.DECODE])
def test_one_attempt_is_lost_the_child_is_replaced_and_the_job_completes(line_of_all: Line, stage: Stage) -> None:
    child = fresh_child(line_of_all, stage)
    fill(child)
    job = line_of_all.upstream.submit(seed=4720 + len(stage), size="256x256", num_frames=25, num_inference_steps=2)
    end = line_of_all.wait_for(job)[job]
    assert isinstance(end, JobCompleted)
    state = eventually(lambda: line_of_all.state(job))
    tried = [past for past in state.attempts if past.stage is stage]
    assert [past.outcome for past in tried] == ["failed", "done"]
    # A library that does not bear a failed allocation takes the child with it.
    assert tried[0].error is not None
    assert tried[0].error.code in ("gpu_out_of_memory", "compute_child_died")
    assert {each.stage: each.attempts for each in end.stages if each.stage is not stage} == dict.fromkeys(
        [other for other in Stage if other is not stage], 1
    )
    assert end.asked is None
    eventually(lambda: not child.is_running())
