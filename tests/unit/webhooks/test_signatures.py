"""A webhook is known to come from us: signed by the secret of its endpoint or its tenant, across rotations."""

from __future__ import annotations

import time

import openai
import pytest
from openai import InvalidWebhookSignatureError
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from schemas.webhooks import COMPLETED, OVERLAP_S, TenantSecret, WebhookEndpoint, event_id
from tests.contract.examples import JOB, NOW
from tests.unit.webhooks.samples import END, ENDPOINT, ROOT, changed, knowing
from webhooks import secrets as keys
from webhooks.delivery import signing, state
from webhooks.delivery.payload import JobEvent, body_of


def signed(endpoint: WebhookEndpoint | TenantSecret = ENDPOINT, at: float | None = None) -> tuple[str, dict[str, str]]:
    now = time.time() if at is None else at
    body = body_of(END, COMPLETED)
    return body, signing.signed(keys.secrets_of(ROOT, endpoint, now), event_id(JOB, COMPLETED), body, now)


def test_both_libraries_verify_what_we_sign() -> None:
    body, headers = signed()
    secret = keys.secret_of_endpoint(ROOT, ENDPOINT)
    event = Webhook(secret).verify(body, headers)
    assert (event["type"], event["data"]["id"], event["id"]) == (COMPLETED, JOB, headers["webhook-id"])
    with openai.OpenAI(api_key="none") as client:
        client.webhooks.verify_signature(body, headers, secret=secret)
        unwrapped = client.webhooks.unwrap(body, headers, secret=secret)
    assert unwrapped.type == COMPLETED


@pytest.mark.parametrize("spoil", ["body", "timestamp", "id", "secret"])
def test_what_was_tampered_with_is_refused_by_both(spoil: str) -> None:
    body, headers = signed(at=time.time() - 400) if spoil == "timestamp" else signed()
    body = body.replace("completed", "failed") if spoil == "body" else body
    headers |= {"webhook-id": "evt_other"} if spoil == "id" else {}
    secret = keys.secret_of_tenant(ROOT, "acme") if spoil == "secret" else keys.secret_of_endpoint(ROOT, ENDPOINT)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)
    with openai.OpenAI(api_key="none") as client, pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body, headers, secret=secret)


def test_for_a_day_after_a_rotation_both_secrets_sign() -> None:
    old, now = keys.secret_of_endpoint(ROOT, ENDPOINT), time.time()
    rotated = changed(ENDPOINT, generation=2, former_secret_until=now + OVERLAP_S)
    new = keys.secret_of_endpoint(ROOT, rotated)
    assert new != old
    body, headers = signed(rotated)
    for secret in (old, new):
        Webhook(secret).verify(body, headers)
    later = now + OVERLAP_S + 1
    assert keys.secrets_of(ROOT, rotated, later) == [new]
    assert keys.secrets_of(ROOT, changed(ENDPOINT, generation=2), now) == [new]


def test_the_url_of_a_prompt_is_signed_by_its_tenant_also_across_a_rotation() -> None:
    known, now = knowing(ENDPOINT), time.time()
    end = JobEvent(JOB, "acme", COMPLETED, NOW, "https://a.example")
    by_endpoint, by_tenant = state.deliveries_of(known, end, NOW)
    assert known.signer_of(by_endpoint) == ENDPOINT
    first = keys.secret_of_tenant(ROOT, "acme")
    assert keys.secrets_of(ROOT, known.signer_of(by_tenant), now) == [first]
    known.take_endpoint("tenant/acme", TenantSecret(tenant="acme").rotated(now, keep_old=True))
    body, headers = signed(known.signer_of(by_tenant))
    for secret in (first, second := keys.secret_of_tenant(ROOT, "acme", 2)):
        Webhook(secret).verify(body, headers)
    assert keys.secrets_of(ROOT, known.signer_of(by_tenant), now + OVERLAP_S) == [second]
    known.take_endpoint("tenant/acme", known.secrets["acme"].rotated(now, keep_old=False))
    assert keys.secrets_of(ROOT, known.signer_of(by_tenant), now) == [keys.secret_of_tenant(ROOT, "acme", 3)]


def test_secrets_are_32_bytes_each_its_own_and_only_the_root_gives_them() -> None:
    secrets = {
        keys.secret_of_endpoint(root, endpoint)
        for root in (ROOT, SecretStr("other"))
        for endpoint in (ENDPOINT, changed(ENDPOINT, id="we_" + "2" * 32))
    } | {keys.secret_of_tenant(ROOT, "acme"), keys.secret_of_tenant(ROOT, "globex")}
    assert len(secrets) == 6
    assert all(secret.startswith("whsec_") and len(secret) == 6 + 44 for secret in secrets)
    assert not any(secret[6:20] in str(ENDPOINT.to_bytes()) for secret in secrets)
