"""Keys, and who sees what."""

from __future__ import annotations

import asyncio
import time

import pytest
from pydantic import SecretStr

from gateway.api.content import KeyRevoked, while_valid
from gateway.api.events import LOOK_AGAIN_S, Followed, Mark, video_events
from gateway.api.prefer import waited
from gateway.api_keys import Keys, UnsafeSettings, check_mode, new_key
from gateway.dependencies import Gateway
from gateway.problems import Problem
from gateway.read_model.rows import Row
from runtime.settings import DEFAULT_KEY, Settings
from schemas.events.tenants import ApiKey
from schemas.job import JobStatus
from tests.unit.gateway.samples import NOW, asked, job, taken


def test_keys_are_hashed_and_a_revoked_one_opens_nothing() -> None:
    settings = Settings(gateway_key_secret=SecretStr("s" * 32))
    keys = Keys(settings)
    key, kept = new_key("acme", "web", NOW, settings)
    assert key not in kept.to_bytes().decode()
    assert keys.caller_of(key) is None
    keys.take(kept)
    caller, default = keys.caller_of(key), keys.caller_of(DEFAULT_KEY)
    assert caller is not None
    assert default is not None
    assert (caller.tenant, default.tenant, keys.caller_of("")) == ("acme", "default", None)
    assert (keys.is_valid(caller), keys.news()) == (True, set())
    assert Keys(Settings(gateway_key_secret=SecretStr("t" * 32))).caller_of(key) is None
    keys.take(ApiKey.model_validate(kept.model_dump() | {"revoked_at": NOW + 1}))
    assert (keys.caller_of(key), keys.is_valid(caller), keys.is_valid(default)) == (None, False, True)
    assert (keys.news(), keys.news()) == ({caller.key}, set())


def test_production_refuses_what_everybody_knows() -> None:
    secret = SecretStr("s" * 32)
    with pytest.raises(UnsafeSettings, match="DEFAULT_KEY"):
        check_mode(Settings(gateway_mode="production", gateway_key_secret=secret))
    with pytest.raises(UnsafeSettings, match="KEY_SECRET"):
        check_mode(Settings(gateway_mode="production", gateway_default_key=SecretStr("")))
    safe = Settings(gateway_mode="production", gateway_default_key=SecretStr(""), gateway_key_secret=secret)
    with pytest.raises(UnsafeSettings, match="WEBHOOK_SECRET"):
        check_mode(safe)
    check_mode(safe.model_copy(update={"webhook_secret": secret}))
    check_mode(Settings())


def test_another_tenants_job_is_not_there(gateway: Gateway) -> None:
    state = job(tenant="other", status=JobStatus.COMPLETED, ended_at=NOW)
    taken(gateway.model, state)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/remix"), ("GET", "/content"),
                         ("HEAD", "/content"), ("GET", "/events"), ("GET", "/timeline")):  # fmt: skip
        answer = asked(gateway, method, f"/v1/videos/{state.job}{path}")
        assert answer.status_code == 404
    assert asked(gateway, "GET", f"/v1/videos?after={state.job}").status_code == 400
    assert asked(gateway, "GET", "/v1/videos").json()["data"] == []


def test_what_is_open_under_a_key_ends_when_it_is_revoked(gateway: Gateway) -> None:
    """A stream ends, a wait is refused, and a download gets no further piece."""
    key, kept = new_key("acme", "web", NOW, gateway.settings)
    gateway.keys.take(kept)
    state, caller = job(tenant="acme"), gateway.keys.caller_of(key)
    taken(gateway.model, state)
    assert caller is not None

    async def revoke() -> list[str]:
        gateway.changes.open()
        stream = video_events(Followed(gateway, caller, state.job, Mark()))
        events = [str(event.event) for event in [await anext(stream)]]
        waiting = asyncio.create_task(waited(gateway, caller, Row(state, 1), 60))
        rest = asyncio.create_task(anext(stream, None))
        await asyncio.sleep(0)
        gateway.keys.take(kept.model_copy(update={"revoked_at": NOW}))
        gateway.changes.tell(gateway.keys.news())
        with pytest.raises(Problem, match="revoked meanwhile"):
            await waiting
        return [*events, str(await rest)]

    pieces = while_valid(gateway.keys, caller, [b"one", b"two"])
    assert next(pieces) == b"one"
    began = time.monotonic()
    assert asyncio.run(revoke()) == ["status", "None"]
    assert time.monotonic() - began < LOOK_AGAIN_S
    with pytest.raises(KeyRevoked):
        next(pieces)
