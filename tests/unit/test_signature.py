"""Who may speak for a tenant: the pure rule, and how the core obeys it."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from schemas import envelope
from schemas.base import Frozen
from schemas.envelope import Headers, UnreadableEvent, type_of
from schemas.events import CancelRequested, PromptSubmitted
from schemas.keys import job_id
from schemas.signature import SIGNATURE, Signer, read_signers, refusal, write_signers
from streams.coordinator import core
from streams.coordinator.core import Record
from streams.coordinator.effects import DeadLetter, Effect
from streams.coordinator.ledger import Ledger
from streams.coordinator.policy import Policy
from streams.settings import Settings
from streams.signing import signed

SIGNERS = {
    "upstream-acme": Signer(key=SecretStr("key of acme"), tenants=("acme",)),
    "operator": Signer(key=SecretStr("key of the operator")),
}


def settings_of(name: str, key: str | None = None) -> Settings:
    secret = SIGNERS[name].key if key is None else SecretStr(key)
    return Settings(kafka_username=name, signing_key=secret)


def record(event: Frozen, settings: Settings, id: str = "1") -> tuple[bytes, Headers]:
    value, headers = envelope.write(event, id=id, source="test", time=0.0)
    return value, signed(settings, value, headers)


def why(value: bytes, headers: Headers, tenant: str = "acme") -> str | None:
    _, about = envelope.read(value, headers)
    return refusal(SIGNERS, tenant, about, value, headers)


PROMPT = PromptSubmitted(prompt="a red circle", tenant="acme")


def test_its_own_principal_and_the_operator_may_speak_for_a_tenant() -> None:
    for name in SIGNERS:
        assert why(*record(PROMPT, settings_of(name))) is None


def test_an_open_line_asks_nobody() -> None:
    value, headers = record(PROMPT, Settings())
    _, about = envelope.read(value, headers)
    assert refusal(None, "acme", about, value, headers) is None
    assert SIGNATURE.name not in dict(headers)


def test_the_signature_is_two_lines_of_any_language() -> None:
    value, headers = record(PROMPT, settings_of("upstream-acme"))
    message = f"{type_of(PromptSubmitted)}\n1\n".encode() + value
    expected = f"upstream-acme:{hmac.new(b'key of acme', message, hashlib.sha256).hexdigest()}"
    assert dict(headers)[SIGNATURE.name].decode() == expected


def test_another_tenants_principal_may_not() -> None:
    value, headers = record(PROMPT.model_copy(update={"tenant": "globex"}), settings_of("upstream-acme"))
    assert why(value, headers, "globex") == "upstream-acme may not speak for tenant globex"


@pytest.mark.parametrize("spoil", ["value", "id", "type", "key", "name", "none", "two", "text"])
def test_what_is_not_signed_as_it_stands_is_refused(spoil: str) -> None:
    value, headers = record(PROMPT, settings_of("upstream-acme", "guessed" if spoil == "key" else None))
    kept = {name: text for name, text in headers if spoil != "none" or name != SIGNATURE.name}
    if spoil == "value":
        value = PROMPT.model_copy(update={"prompt": "a blue circle"}).to_bytes()
    elif spoil in ("id", "type"):
        kept[f"ce_{spoil}"] = {"id": b"2", "type": type_of(CancelRequested).encode()}[spoil]
    elif spoil == "name":
        kept[SIGNATURE.name] = kept[SIGNATURE.name].replace(b"upstream-acme", b"operator")
    elif spoil == "text":
        kept[SIGNATURE.name] = b"\xff"
    spoilt = [*kept.items(), *([(SIGNATURE.name, b"operator:0")] if spoil == "two" else [])]
    about = envelope.envelope_of({name: text.decode(errors="replace") for name, text in kept.items()})
    refused = refusal(SIGNERS, "acme", about, value, spoilt)
    assert refused
    assert "key of" not in refused


@given(text=st.text(min_size=1))
def test_an_id_with_a_control_character_is_refused_since_signatures_end_its_line(text: str) -> None:
    headers = [("ce_type", type_of(PromptSubmitted).encode()), ("ce_id", f"{text}\n{text}".encode(errors="replace"))]
    with pytest.raises(UnreadableEvent) as caught:
        envelope.read(PROMPT.to_bytes(), headers)
    assert (caught.value.reason, caught.value.field) == ("invalid_field", "ce_id")


def taken(ledger: Ledger, event: Frozen, settings: Settings, id: str) -> list[Effect]:
    value, headers = record(event, settings, id)
    return core.take(ledger, Policy(signers=SIGNERS), Record("prompts", 0, 0, value, headers), 1.0)


def test_the_core_buries_what_is_not_signed_and_nobody_hears_of_it_as_that_tenant() -> None:
    ledger = Ledger()
    (letter,) = taken(ledger, PROMPT, Settings(), "1")
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.value) == ("not_authorised", PROMPT.to_bytes())
    assert ledger.jobs.get(job_id("acme", "1")) is None
    cancel = CancelRequested(job=job_id("acme", "1"), tenant="acme")
    (letter,) = taken(ledger, cancel, settings_of("upstream-acme", "guessed"), "2")
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "not_authorised"


def test_signing_again_replaces_the_signature_and_leaves_what_is_no_event(tmp_path: Path) -> None:
    value, headers = record(PROMPT, settings_of("upstream-acme", "old key"))
    again = signed(settings_of("operator"), value, headers)
    assert [name for name, _ in again].count(SIGNATURE.name) == 1
    assert why(value, again) is None
    assert signed(settings_of("operator"), b"no event", headers) == [pair for pair in headers if pair[0] != "signature"]


def test_the_file_of_signers_comes_back_and_a_bad_one_shows_no_key(tmp_path: Path) -> None:
    file = tmp_path / "signers.json"
    file.write_bytes(write_signers(SIGNERS))
    assert read_signers(file) == SIGNERS
    assert Policy.of(Settings(signers_file=file), {}, "c").signers == SIGNERS
    file.write_text('{"upstream-acme": {"key": ["hunter2"], "tenants": "hunter3"}, "b": "hunter4"}')
    with pytest.raises(ValueError, match="who may sign") as caught:
        read_signers(file)
    assert "hunter" not in str(caught.value)
