"""Over HTTP a secure line knows the keys that it has made, and none that others know."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx
import pytest

from gateway.api_keys import new_key
from infra.local.plan import Plan
from infra.security.api_keys import file_of, issue
from latentline.commands.stack import first_keys, key_line
from operations.tenants import put_key, read_keys
from runtime.settings import DEFAULT_KEY
from tests.broker.secure.line import Secure
from tests.support import eventually

pytestmark = pytest.mark.broker


def listed(secure: Secure, key: str) -> int:
    """The status of an everyday request."""
    url = f"http://127.0.0.1:{secure.operator.gateway_port}/v1/videos"
    return httpx.get(url, headers={"authorization": f"Bearer {key}"}, timeout=30).status_code


def opens(secure: Secure, key: str) -> bool:
    return listed(secure, key) == 200


def first_key(secure: Secure, tenant: str) -> str:
    file: Path = file_of(secure.access.vault, tenant)
    assert file.stat().st_mode & 0o077 == 0
    return file.read_text()


def test_the_key_that_everybody_knows_opens_nothing_and_is_told_to_nobody(secure: Secure) -> None:
    assert listed(secure, DEFAULT_KEY) == 401
    page = httpx.get(f"http://127.0.0.1:{secure.operator.gateway_port}/page.json", timeout=30)
    assert page.json() == {"key": ""}
    assert DEFAULT_KEY not in key_line(secure.operator)


def test_each_tenant_has_a_first_key_and_the_operator_makes_more(secure: Secure) -> None:
    keys = {tenant: first_key(secure, tenant) for tenant in ("acme", "globex")}
    assert first_keys(secure.stack).keys() == keys.keys()
    assert {key.tenant for key in read_keys(secure.operator)} >= keys.keys()
    for key in keys.values():
        eventually(partial(opens, secure, key))
    assert listed(secure, keys["acme"] + "x") == 401
    another, kept = new_key("acme", "web", 1.8e9, secure.operator)
    put_key(secure.operator, kept)
    eventually(partial(opens, secure, another))


def test_a_secret_of_its_own_hashes_the_keys(secure: Secure) -> None:
    plan = Plan.load(secure.stack.data)
    (gateway,) = [service for service in plan.services if service.name == "gateway"]
    told = secure.access.service(gateway)
    assert (told["LATENTLINE_GATEWAY_MODE"], told["LATENTLINE_GATEWAY_DEFAULT_KEY"]) == ("production", "")
    drawn = Path(told["LATENTLINE_SECRETS_DIR"]) / "latentline_gateway_key_secret"
    assert len(drawn.read_text()) >= 32
    assert drawn.read_text() == secure.operator.gateway_key_secret.get_secret_value()


def test_a_first_key_that_was_revoked_stays_revoked_at_the_next_start(secure: Secure) -> None:
    owner = secure.owner
    (key,) = [each for each in read_keys(owner) if each.tenant == "globex"]
    put_key(owner, key.model_copy(update={"revoked_at": 1.8e9}))
    issue(owner, secure.access.vault, ("acme", "globex"))
    (again,) = [each for each in read_keys(owner) if each.tenant == "globex"]
    assert again.revoked_at == 1.8e9
    eventually(lambda: listed(secure, first_key(secure, "globex")) == 401)
