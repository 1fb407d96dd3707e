"""A coordinator that is alive and does not turn is replaced, and gets past the prompt on which it hangs."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from runtime.settings import Settings
from schemas.job import JobState
from streams.kafka.topics import DLQ
from tests.broker.hanging_coordinator import HANG
from tests.processes import Service, Tail, Upstream, tail
from tests.support import eventually

pytestmark = pytest.mark.broker


def reason(service: Service) -> str:
    try:
        with urlopen(service.url("/healthz"), timeout=5) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        with error:
            return error.read().decode()
    except OSError:
        return ""


def test_a_coordinator_that_hangs_is_replaced_and_dead_letters_the_prompt_it_hangs_on(
    quick: Settings, upstream: Upstream, jobs: Tail
) -> None:
    settings = quick.model_copy(update={"stuck_after_s": 2.0})
    before, hanging = upstream.submit(), upstream.submit(HANG)
    after = upstream.submit("a red circle moving left")
    service = Service(settings, "coordinator", module="tests.broker.hanging_coordinator")
    codes = []
    with tail(settings, DLQ) as letters:
        for _ in range(3):
            service.start()
            eventually(lambda: reason(service) == "coordinator: no turn for 0.5 s\n", 60)
            codes.append(service.wait())
        service.start()
        try:
            eventually(lambda: {before, after} <= {e.job for e in jobs.events() if isinstance(e, JobState)}, 60)
            [letter] = eventually(letters.poll)
        finally:
            service.kill()
    assert codes == [1, 1, 1]
    assert HANG.encode() in (letter[1] or b""), "with its original bytes"
    assert hanging not in {event.job for event in jobs.events() if isinstance(event, JobState)}
    log = service.log_file.read_text()
    assert "a loop does not turn: the process ends and must be started anew" in log
    assert "in hanging" in log, "the stack says where"
    assert HANG not in log
