"""One call is one job, and accepted means durable."""

from __future__ import annotations

import asyncio

import pytest

from gateway import intake
from gateway.api.create import expected_state, find_retried_call
from gateway.api.create_request import from_fields
from gateway.api.videos import remixed
from gateway.dependencies import Gateway
from gateway.problems import Problem
from gateway.read_model.retried_calls import WINDOW_S, Retries
from runtime.settings import Settings
from schemas.events.prompts import PromptSubmitted
from schemas.stage_keys import job_id
from tests.unit.gateway.samples import SOME, asked, job, taken


def test_a_silent_retry_gets_the_same_key_for_a_minute() -> None:
    now = [0.0]
    retries = Retries(lambda: now[0])
    first = retries.key_of("t", "body", is_retry=False)
    assert retries.key_of("t", "body", is_retry=True) == first
    assert retries.key_of("other", "body", is_retry=True) != first
    second = retries.key_of("t", "body", is_retry=False)
    assert second != first
    now[0] += WINDOW_S + 1
    assert retries.key_of("t", "body", is_retry=True) not in (first, second)


def test_a_retry_finds_what_another_gateway_has_made_of_the_call(gateway: Gateway) -> None:
    wanted = from_fields({"prompt": "a red circle", "metadata": {"order": "7"}})
    prompt = wanted.event("default", "of another gateway")
    made = expected_state(gateway, prompt, job_id("default", "of another gateway"))
    taken(gateway.model, made)
    found = find_retried_call(gateway, "default", wanted)
    assert found is not None
    assert found.state == made
    for other in ({"metadata": {"order": "8"}}, {"seed": 1}, {"prompt": "a blue circle"}, {"priority": 1}):
        assert find_retried_call(gateway, "default", wanted.model_copy(update=other)) is None
    assert find_retried_call(gateway, "other", wanted) is None


def test_a_broker_that_is_away_is_a_503_that_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "ACKNOWLEDGED_WITHIN_S", 0.3)
    door = intake.Intake(Settings(kafka_bootstrap="127.0.0.1:9"), lambda states: [])
    with pytest.raises(Problem) as raised:
        asyncio.run(door.accept(PromptSubmitted(prompt="a cat")))
    assert (raised.value.status, raised.value.headers["x-should-retry"], raised.value.retry_after) == (503, "true", 2)
    door.close()


def test_a_remix_tells_whom_it_names_and_not_whom_its_parent_told() -> None:
    parent, hook = job(webhook_url="https://first.example/"), "https://second.example/"
    for url in (hook, None):
        prompt = remixed(parent, from_fields({"prompt": "a blue circle", "webhook_url": url}), "k")
        assert (prompt.webhook_url, prompt.seed, prompt.prompt) == (url, 1, "a blue circle")


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "http://shop.example/", "shop", 7])
def test_a_remix_refuses_a_url_that_nothing_would_be_sent_to(gateway: Gateway, url: object) -> None:
    taken(gateway.model, job())
    answer = asked(gateway, "POST", f"{SOME}/remix", json={"prompt": "a blue circle", "webhook_url": url})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_value", "webhook_url")
