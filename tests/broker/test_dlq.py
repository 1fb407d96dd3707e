"""Dead letters on the real broker: found by what people ask for, and sent into the line again as new events."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from latentline.main import app
from latentline.time_arguments import moment
from operations.dead_letters.records import DeadLetterRecord, Filter, dead_letters
from operations.dead_letters.redrive import NotRedrivable, redriven
from runtime.settings import Settings
from schemas import envelope
from schemas.errors import PoisonJob
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobState, JobStatus
from schemas.stage import STAGES
from streams.coordinator.core.completion import fail
from streams.coordinator.core.effects import DeadLetter
from streams.coordinator.core.intake import Raw
from streams.coordinator.core.records import Writer
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.core.transitions import new_job, with_recipe
from streams.kafka.topics import DLQ, PROMPTS
from tests.contract.examples import NOW, RECIPE
from tests.processes import Upstream, tail
from tests.support import eventually

pytestmark = pytest.mark.broker

BAD = b'{"tenant":"acme"}'
SENT = [("ce_id", b"one"), ("ce_type", b"latentline.prompt_submitted.v1"), ("ce_note", b"kept")]
Command = Callable[..., Result]


@pytest.fixture
def command(line: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("LATENTLINE_KAFKA_BOOTSTRAP", line.kafka_bootstrap)
    monkeypatch.setenv("LATENTLINE_TOPIC_PREFIX", line.topic_prefix)
    return lambda *arguments: CliRunner().invoke(app, ["dlq", *arguments])


def bury(line: Settings, letter: DeadLetter, at: float = NOW) -> None:
    """As the coordinator writes it."""
    [record] = Writer(0, "c", at).effects([letter])
    Upstream(line).send_raw(record.value, record.headers, DLQ)


def poisoned() -> tuple[JobState, DeadLetter]:
    """A job that was given up, and its letter, made by the core."""
    ledger, new = Ledger(), new_job("video_" + "a" * 32, "acme", "", NOW, metadata={"order": "17"}, priority=5)
    state = ledger.put(with_recipe(new, RECIPE, dict.fromkeys(STAGES, "key"), NOW), NOW)
    [_, letter] = fail(ledger, state, PoisonJob("every worker died").report(), NOW, ("lease 1 on w: lost",))
    assert isinstance(letter, DeadLetter)
    return ledger.jobs[state.job], letter


def prompts(line: Settings, count: int) -> list[tuple[bytes | None, bytes | None, envelope.Headers]]:
    with tail(line, PROMPTS) as found:
        eventually(lambda: len(found.poll()) >= count)
        return found.raw


def test_a_wrong_prompt_goes_back_as_it_came_under_a_new_id(line: Settings, command: Command) -> None:
    bury(line, Raw(BAD, SENT, "prompts/0/7").dead_letter("invalid_field", "prompt: Field required"))
    [found] = map(orjson.loads, command("list", "--json").stdout.splitlines())
    assert (found["place"], found["reason"], found["tenant"]) == ("0/0", "invalid_field", "acme")
    assert "Field required" in command("list").stdout
    assert BAD.decode() in command("show", "0/0").stdout
    assert "would be redrive-" in command("redrive", "0/0", "--dry-run").stdout
    assert command("redrive", "0/0").exit_code == 0
    [(key, value, headers)] = prompts(line, 1)
    sent = dict(headers)
    assert (key, value, sent["ce_note"], sent["ce_parent"]) == (b"acme", BAD, b"kept", b"dlq/0/0")
    assert sent["ce_id"] not in (b"one", b"")
    assert not any(name.startswith("dlq_") for name in sent)
    assert len(headers) == len(sent)


def test_a_prompt_with_a_key_goes_back_as_another_job(line: Settings, command: Command) -> None:
    """Its own key belongs to the job that has failed, or to that of the other body."""
    bury(line, Raw(orjson.dumps({"prompt": "a", "idempotency_key": "one"}), SENT, "prompts/0/7").dead_letter("x", "no"))
    whole = orjson.dumps({"type": "t", "data": {"prompt": "a", "idempotency_key": "one"}})
    bury(line, Raw(whole, SENT, "prompts/0/8").dead_letter("x", "no"))
    assert command("redrive", "--all").exit_code == 0
    [(_, plain, headers), (_, structured, others)] = prompts(line, 2)
    assert orjson.loads(plain or b"") == {"prompt": "a", "idempotency_key": dict(headers)["ce_id"].decode()}
    assert orjson.loads(structured or b"")["data"]["idempotency_key"] == dict(others)["ce_id"].decode()


def test_a_job_that_was_given_up_is_asked_for_anew(line: Settings, command: Command) -> None:
    job, letter = poisoned()
    assert job.status is JobStatus.FAILED
    bury(line, letter)
    for _ in range(2):
        assert command("redrive", "--reason", "poison_job").exit_code == 0
    asked = [envelope.read(value, headers)[0] for _, value, headers in prompts(line, 2)]
    assert asked[0] == asked[1], "redriven twice it is one job"
    assert isinstance(asked[0], PromptSubmitted)
    assert asked[0].metadata == {"order": "17", "parent": job.job}
    assert (asked[0].prompt, asked[0].seed, asked[0].size) == (RECIPE.prompt, RECIPE.seed, "64x48")
    assert (asked[0].priority, asked[0].tenant) == (5, job.tenant)


def test_letters_are_chosen_by_reason_tenant_and_time(line: Settings) -> None:
    for reason, tenant, at in (("a", "x", 10.0), ("b", "x", 20.0), ("a", "y", 30.0)):
        bury(line, DeadLetter(reason, "", orjson.dumps({"tenant": tenant}), [], "prompts/0/0"), at)
    found = list(dead_letters(line))
    assert [letter.place for letter in found] == ["0/0", "0/1", "0/2"]
    chosen = {
        Filter(reason="a"): "02", Filter(tenant="x"): "01", Filter(since=20): "12", Filter(until=20): "0",
        Filter(reason="a", tenant="y", since=30, until=31): "2", Filter(reason="none"): "",
    }  # fmt: skip
    for wanted, places in chosen.items():
        assert [letter.place[-1] for letter in dead_letters(line, wanted)] == list(places)


def test_what_cannot_be_redriven_says_why(line: Settings, command: Command) -> None:
    bury(line, Raw(b"x", [], "reports/0/1").dead_letter("not_json", "no"))
    bury(line, Raw(BAD, SENT, "prompts/0/2").dead_letter("invalid_field", "no"))
    answer = command("redrive", "--all")
    assert answer.exit_code == 1
    assert "0/0 (not_json) cannot be redriven: it comes from `reports`" in answer.stderr
    assert [value for _, value, _ in prompts(line, 1)] == [BAD], "the other one is sent all the same"
    assert command("redrive").exit_code == 2
    assert command("redrive", "0/0", "--all").exit_code == 2
    assert "no dead letter 0/9" in command("show", "0/9").stderr
    cut = DeadLetterRecord("0/0", "too_large", "", "prompts/0/0", 0.0, b"{", [], truncated_from=9_000_000)
    with pytest.raises(NotRedrivable, match="not whole"):
        redriven(cut)


def test_what_was_dropped_is_off_the_list_and_still_there(line: Settings, command: Command) -> None:
    for offset in range(3):
        bury(line, Raw(BAD, SENT, f"prompts/0/{offset}").dead_letter("invalid_field", "no"))
    assert "0/0  invalid_field  would be dropped" in command("drop", "--reason", "invalid_field", "--dry-run").stdout
    assert len(listed(command)) == 3
    assert command("drop", "0/0", "0/2", "--why", "sent again by hand").exit_code == 0
    assert listed(command) == ["0/1"]
    assert listed(command, "--dropped") == ["0/0", "0/2"]
    assert "sent again by hand" in command("show", "0/0").stdout
    assert command("drop", "--all").exit_code == 0
    assert listed(command) == []
    bury(line, Raw(BAD, SENT, "prompts/0/9").dead_letter("invalid_field", "no"))
    assert len(listed(command)) == 1, "what comes later is not dropped"
    assert command("redrive", "0/0").exit_code == 0
    assert [value for _, value, _ in prompts(line, 1)] == [BAD]
    assert command("drop").exit_code == 2


def listed(command: Command, *options: str) -> list[str]:
    return [orjson.loads(found)["place"] for found in command("list", "--json", *options).stdout.splitlines()]


def test_moments_as_people_say_them() -> None:
    now = time.time()
    assert moment("30m", now) == now - 1800
    assert moment("2026-03-01T12:00", now) == moment("2026-03-01T13:00+01:00", now)
    assert moment(None, now) is None
    with pytest.raises(typer.BadParameter):
        moment("yesterday", now)
