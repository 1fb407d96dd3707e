"""A line works by least rights, from a prompt to its video."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local import doctor
from infra.local.plan import Plan
from infra.local.services import services
from infra.local.stack import Stack, StackError
from latentline import line as command_line
from operations.audit.run import audit
from operations.dead_letters.records import dead_letters
from runtime.settings import Settings
from schemas.events.completions import JobCompleted
from schemas.events.prompts import PromptSubmitted
from schemas.events.usage import UsageWindow
from schemas.job import JobStatus
from schemas.stage import STAGES
from streams.client.snapshot import snapshot
from streams.client.submit import submit
from streams.kafka.topics import COMPLETIONS, USAGE
from tests.broker.secure.line import Secure, job_of, store_of, upstream
from tests.broker.workers import PlayedWorker
from tests.processes import tail
from tests.secrets import command_lines, leaks, records, secrets_of
from tests.support import eventually

pytestmark = pytest.mark.broker


def test_the_doctor_is_content_with_a_secure_line(secure: Secure) -> None:
    found = doctor.check(Settings(), secure.stack)
    assert [finding for finding in found if not finding.ok] == []


def test_a_prompt_is_taken_from_whoever_may_speak_for_its_tenant(secure: Secure) -> None:
    upstream(secure, "globex", "stolen")
    upstream(secure, "acme", "unsigned", sign=False)
    upstream(secure, "acme", "good")
    (operators,) = submit(secure.operator, [PromptSubmitted(prompt="a blue square moving up", tenant="globex")])
    expected = {job_of("acme", "good"), operators.job}
    eventually(lambda: expected <= snapshot(secure.operator).keys())
    refused = [letter for letter in dead_letters(secure.operator) if letter.reason == "not_authorised"]
    assert sorted(letter.message for letter in refused) == [
        "a prompt of this line has one header `signature`, this one has 0",
        "upstream-acme may not speak for tenant globex",
    ]
    assert not {job_of("globex", "stolen"), job_of("acme", "unsigned")} & snapshot(secure.operator).keys()


def test_a_prompt_becomes_a_completion_by_least_rights(secure: Secure) -> None:
    """Four workers played by hand, each with its own stage's rights; the one that reads the end has downstream's."""
    upstream(secure, "acme", "whole")
    workers = [PlayedWorker(secure.of(f"worker-{stage}"), name=f"played-{stage}", stages=(stage,)) for stage in STAGES]

    def work() -> list[JobCompleted]:
        for worker in workers:
            worker.work()
        return [event for event in ends.events() if isinstance(event, JobCompleted) and event.job == wanted]

    wanted = job_of("acme", "whole")
    with tail(secure.of("downstream"), COMPLETIONS) as ends:
        (completed,) = eventually(work, 60)
    assert completed.video.key.startswith(f"videos/acme/{wanted}/")
    for worker in workers:
        worker.close()


def test_an_open_line_is_not_made_secure_behind_its_data(tmp_path: Path) -> None:
    Plan.draw(tmp_path, (), any_ports=True).save()
    with pytest.raises(StackError, match="holds an open line"):
        Stack(tmp_path).up((), any_ports=True, tenants=("acme",))


@pytest.mark.long
def test_a_whole_secure_line_makes_a_video_and_leaves_no_secret_behind(tmp_path: Path) -> None:
    line = Secure(Stack(tmp_path / "data"))
    line.stack.up(services(), any_ports=True, stays=False, tenants=("acme",))
    try:
        upstream(line, "acme", "real")
        wanted = job_of("acme", "real")
        eventually(lambda: (state := snapshot(line.operator).get(wanted)) and state.status.ended, 120)
        state = snapshot(line.operator)[wanted]
        assert state.status is JobStatus.COMPLETED, state.error
        assert state.video is not None
        found = store_of(line.of("downstream")).stat_object(
            bucket_name=line.operator.store_bucket, object_name=state.video.key
        )
        assert found.size == state.video.size
        with tail(line.of("downstream"), USAGE) as usage:
            eventually(lambda: [event for event in usage.events() if isinstance(event, UsageWindow)])
        assert audit(line.operator, command_line.store(line.operator)).violations == ()
        assert [finding for finding in doctor.check(Settings(), line.stack) if not finding.ok] == []
        assert set(line.stack.status()["restarts"].values()) == {0}
        told = records(line.operator) | command_lines(line.stack.data)
        assert leaks(line.stack.data, told, secrets_of(line.stack.data)) == []
    finally:
        line.stack.down()
