"""Prompts are counted as their model reads them, and what it would not see the end of is refused by both doors."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.dependencies import Gateway
from runtime.token_counter import LARGEST_FILE, TokenCounter, as_wan_reads, read_tokenizer
from schemas import envelope
from schemas.bundle import read_bundles
from schemas.errors import InvalidJob
from schemas.events.completions import JobFailed
from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from streams.coordinator.core import dispatch
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.service.main import with_tokens
from tests.sim.played_line import ends
from tests.unit.gateway.conftest import gateway, model  # noqa: F401
from tests.unit.gateway.samples import asked

BUNDLES = read_bundles("bundles/tiny")
COUNTER = TokenCounter.of("bundles/tiny")
MOST = BUNDLES["tiny"].limits.max_sequence_length
LONGEST, TOO_LONG = " ".join(["red"] * (MOST - 1)), " ".join(["red"] * MOST)


def test_the_end_token_counts_and_the_default_negative_prompt_does() -> None:
    assert COUNTER.counts(PromptSubmitted(prompt=LONGEST), "tiny") == {"prompt": MOST, "negative_prompt": 1}
    assert COUNTER.counts(PromptSubmitted(prompt="red, blue", negative_prompt="red"), "tiny") == {
        "prompt": 4, "negative_prompt": 2,
    }  # fmt: skip


@pytest.mark.parametrize("prompt", ["a" * 401, "a\x07", "\u0301" * 300])
def test_what_is_refused_before_is_not_counted(prompt: str) -> None:
    assert COUNTER.counts(PromptSubmitted(prompt=prompt), "tiny") == {}
    assert COUNTER.counts(PromptSubmitted(prompt="red", model="none"), "tiny") == {}


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_one_token_too_many_is_refused_with_field_count_and_limit(field: str) -> None:
    for text, is_refused in ((LONGEST, False), (TOO_LONG, True)):
        prompt = PromptSubmitted(**{"prompt": "red", field: text})
        tokens = COUNTER.counts(prompt, "tiny")
        if not is_refused:
            recipe_of(prompt, "video_1", BUNDLES, "tiny", tokens)
            continue
        with pytest.raises(InvalidJob, match=f"has {MOST + 1} tokens with the end token, at most {MOST}") as caught:
            recipe_of(prompt, "video_1", BUNDLES, "tiny", tokens)
        assert (caught.value.field, caught.value.nearest) == (field, f"{MOST} tokens")


def test_intake_refuses_it_without_a_lease() -> None:
    value, headers = envelope.write(PromptSubmitted(prompt=TOO_LONG), id="1", source="test", time=0.0)
    record = with_tokens(Record("prompts", 0, 0, value, headers), COUNTER, "tiny")
    [end] = ends(dispatch.take(Ledger(), Policy(bundles=BUNDLES), record, 1.0))
    assert isinstance(end, JobFailed)
    assert (end.error.field, end.error.nearest) == ("prompt", f"{MOST} tokens")


def test_no_other_record_is_touched() -> None:
    for value in (None, b"{", b"[]"):
        record = Record("prompts", 0, 0, value, [])
        assert with_tokens(record, COUNTER, "tiny") is record


def test_a_create_refuses_it(gateway: Gateway) -> None:  # noqa: F811
    gateway.tokens = COUNTER
    answer = asked(gateway, "POST", "/v1/videos", json={"prompt": TOO_LONG})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
    assert f"at most {MOST}" in answer.json()["error"]["message"]


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text("{}")
    with pytest.raises(ValueError, match="no tokenizer"):
        read_tokenizer(file)
    with file.open("wb") as large:
        large.truncate(LARGEST_FILE + 1)
    with pytest.raises(ValueError, match="at most"):
        read_tokenizer(file)


def test_wan_reads_a_prompt_without_entities_and_broken_letters() -> None:
    assert as_wan_reads(" a &amp;amp; b\n\u00c3\u00a9 ") == "a & b \u00e9"
