"""Who may speak for a tenant: the pure rule, and how the core obeys it."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from runtime.settings import Settings
from schemas import envelope
from schemas.base import Frozen
from schemas.bundle import read_bundles
from schemas.envelope import Headers, UnreadableEvent, type_of
from schemas.events.prompts import CancelRequested, PromptSubmitted
from schemas.signature import SIGNATURE, Signer, Verdict, read_signers, signature_of, verdict_on, write_signers
from schemas.stage_keys import identity_of, job_id
from streams.coordinator.core import dispatch
from streams.coordinator.core.dispatch import Record
from streams.coordinator.core.effects import DeadLetter, Effect
from streams.coordinator.core.policy import Policy
from streams.coordinator.core.state.ledger import Ledger
from streams.coordinator.service.policy import policy_of
from streams.kafka.signing import signed

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


def verdict(value: bytes, headers: Headers, tenant: str = "acme") -> Verdict:
    _, about = envelope.read(value, headers)
    return verdict_on(SIGNERS, tenant, about, value, headers)


def why(value: bytes, headers: Headers, tenant: str = "acme") -> str | None:
    return verdict(value, headers, tenant).refusal


def as_before(event: Frozen, id: str = "1", source: str = "test") -> tuple[bytes, Headers]:
    """A record as a client of the release before signs it: its source is not covered."""
    value, headers = envelope.write(event, id=id, source=source, time=0.0)
    text = signature_of("upstream-acme", SIGNERS["upstream-acme"].key, (type_of(type(event)), id), value)
    return value, [*headers, (SIGNATURE.name, text.encode())]


PROMPT = PromptSubmitted(prompt="a red circle", tenant="acme")
POLICY = Policy(signers=SIGNERS, bundles=read_bundles("bundles/tiny"))


def test_its_own_principal_and_the_operator_may_speak_for_a_tenant() -> None:
    for name in SIGNERS:
        assert why(*record(PROMPT, settings_of(name))) is None


def test_an_open_line_asks_nobody() -> None:
    value, headers = record(PROMPT, Settings())
    _, about = envelope.read(value, headers)
    assert verdict_on(None, "acme", about, value, headers) == Verdict()
    assert SIGNATURE.name not in dict(headers)


def test_the_signature_is_two_lines_of_any_language() -> None:
    value, headers = record(PROMPT, settings_of("upstream-acme"))
    message = f"v2\n{type_of(PromptSubmitted)}\ntest\n1\n".encode() + value
    expected = f"upstream-acme:{hmac.new(b'key of acme', message, hashlib.sha256).hexdigest()}"
    assert dict(headers)[SIGNATURE.name].decode() == expected


def test_another_tenants_principal_may_not() -> None:
    value, headers = record(PROMPT.model_copy(update={"tenant": "globex"}), settings_of("upstream-acme"))
    assert why(value, headers, "globex") == "upstream-acme may not speak for tenant globex"


@pytest.mark.parametrize("spoil", ["value", "id", "type", "source", "key", "name", "none", "two", "text"])
def test_what_is_not_signed_as_it_stands_is_refused(spoil: str) -> None:
    value, headers = record(PROMPT, settings_of("upstream-acme", "guessed" if spoil == "key" else None))
    kept = {name: text for name, text in headers if spoil != "none" or name != SIGNATURE.name}
    if spoil == "value":
        value = PROMPT.model_copy(update={"prompt": "a blue circle"}).to_bytes()
    elif spoil in ("id", "type", "source"):
        kept[f"ce_{spoil}"] = {"id": b"2", "source": b"other", "type": type_of(CancelRequested).encode()}[spoil]
    elif spoil == "name":
        kept[SIGNATURE.name] = kept[SIGNATURE.name].replace(b"upstream-acme", b"operator")
    elif spoil == "text":
        kept[SIGNATURE.name] = b"\xff"
    spoilt = [*kept.items(), *([(SIGNATURE.name, b"operator:0")] if spoil == "two" else [])]
    about = envelope.envelope_of({name: text.decode(errors="replace") for name, text in kept.items()})
    refused = verdict_on(SIGNERS, "acme", about, value, spoilt).refusal
    assert refused
    assert "key of" not in refused


def test_a_signature_of_the_release_before_is_good_and_leaves_the_source_out_of_the_identity() -> None:
    value, headers = as_before(PROMPT)
    assert verdict(value, headers) == Verdict(vouches_for_source=False)
    assert verdict(value, headers, "globex").refusal == "upstream-acme may not speak for tenant globex"
    assert verdict(*record(PROMPT, settings_of("operator"))) == Verdict()


def test_a_record_whose_source_was_changed_is_no_other_job() -> None:
    """Else who may write, and has read a signed prompt, would make as many jobs of it as there are names."""
    ledger = Ledger()
    for source in ("orders", "adverts"):
        value, headers = as_before(PROMPT, "1", source)
        dispatch.take(ledger, POLICY, Record("prompts", 0, 0, value, headers), 1.0)
    assert [state.job for state in ledger.jobs.values()] == [job_id("acme", "1")]
    value, headers = record(PROMPT, settings_of("operator"), "1")
    changed = [(name, b"adverts" if name == "ce_source" else text) for name, text in headers]
    [letter] = dispatch.take(ledger, POLICY, Record("prompts", 0, 0, value, changed), 1.0)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "not_authorised"


@pytest.mark.parametrize("header", ["ce_id", "ce_source"])
@given(text=st.text(min_size=1))
def test_an_id_with_a_control_character_is_refused_since_signatures_end_its_line(header: str, text: str) -> None:
    headers = {"ce_type": type_of(PromptSubmitted).encode(), "ce_source": b"test", "ce_id": b"1"}
    headers[header] = f"{text}\n{text}".encode(errors="replace")
    with pytest.raises(UnreadableEvent) as caught:
        envelope.read(PROMPT.to_bytes(), headers.items())
    assert (caught.value.reason, caught.value.field) == ("invalid_field", header)


def taken(ledger: Ledger, event: Frozen, settings: Settings, id: str) -> list[Effect]:
    value, headers = record(event, settings, id)
    return dispatch.take(ledger, Policy(signers=SIGNERS), Record("prompts", 0, 0, value, headers), 1.0)


def test_the_core_buries_what_is_not_signed_and_nobody_hears_of_it_as_that_tenant() -> None:
    ledger = Ledger()
    (letter,) = taken(ledger, PROMPT, Settings(), "1")
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.value) == ("not_authorised", PROMPT.to_bytes())
    assert ledger.jobs.get(identity_of(PROMPT, "test", "1").job) is None
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
    assert policy_of(Settings(signers_file=file), {}, "c").signers == SIGNERS
    file.write_text('{"upstream-acme": {"key": ["hunter2"], "tenants": "hunter3"}, "b": "hunter4"}')
    with pytest.raises(ValueError, match="who may sign") as caught:
        read_signers(file)
    assert "hunter" not in str(caught.value)
