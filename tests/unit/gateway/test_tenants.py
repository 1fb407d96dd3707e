"""Keys, and who sees what."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from schemas.events import ApiKey
from schemas.job import JobStatus
from streams.gateway.gateway import Gateway
from streams.gateway.keys import Keys, UnsafeSettings, check_mode, new_key
from streams.settings import DEFAULT_KEY, Settings
from tests.unit.gateway.samples import NOW, asked, job, taken


def test_keys_are_hashed_and_a_revoked_one_opens_nothing() -> None:
    settings = Settings(gateway_key_secret=SecretStr("s" * 32))
    keys = Keys(settings)
    key, kept = new_key("acme", "web", NOW, settings)
    assert key not in kept.to_bytes().decode()
    assert keys.tenant_of(key) is None
    keys.take(kept)
    assert (keys.tenant_of(key), keys.tenant_of(DEFAULT_KEY), keys.tenant_of("")) == ("acme", "default", None)
    assert Keys(Settings(gateway_key_secret=SecretStr("t" * 32))).tenant_of(key) is None
    keys.take(ApiKey.model_validate(kept.model_dump() | {"revoked_at": NOW + 1}))
    assert keys.tenant_of(key) is None


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
