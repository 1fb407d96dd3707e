"""The notifier without a broker: schedule, decisions, signatures, who may be reached and who is in whose way."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import Any, TypeGuard

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import InvalidWebhookSignatureError
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from schemas.base import Frozen
from schemas.events import Completion
from schemas.job import JobStatus
from schemas.webhooks import (
    CANCELLED,
    COMPLETED,
    FAILED,
    OVERLAP_S,
    STARTED,
    DeliveryOutcome,
    DeliveryRequested,
    TenantSecret,
    WebhookDelivery,
    WebhookEndpoint,
    event_id,
)
from streams.notifier import core, keys, schedule, signing
from streams.notifier.addresses import Gate, forbidden
from streams.notifier.core import Change, Known
from streams.notifier.due import AT_ONCE_OF_ONE, AT_ONCE_TO_ONE, Due, Way
from streams.notifier.payload import Happening, body_of, end_of, start_of
from streams.notifier.post import Answer, seconds_of
from tests.contract.examples import JOB, NOW, STATE, first

ROOT = SecretStr("r" * 32)
ENDPOINT = WebhookEndpoint(
    id="we_" + "1" * 32, tenant="acme", name="shop", url="https://shop.example/hooks", event_types=(COMPLETED, FAILED),
    created_at=NOW - 100, updated_at=NOW - 100,
)  # fmt: skip
END = Happening(JOB, "acme", COMPLETED, NOW)
OK, BROKEN = Answer(0.1, 200), Answer(0.1, 500)


def knowing(*endpoints: WebhookEndpoint) -> Known:
    return Known({endpoint.id: endpoint for endpoint in endpoints})


def changed(endpoint: WebhookEndpoint, **fields: Any) -> WebhookEndpoint:
    return WebhookEndpoint.model_validate(endpoint.model_dump() | fields)


def apply(known: Known, changes: list[Change]) -> list[Change]:
    for key, record in changes:
        known.take(key, record)
    return changes


def the_delivery(known: Known) -> WebhookDelivery:
    (delivery,) = known.deliveries.values()
    return delivery


def answered(known: Known, answer: Answer, now: float = NOW) -> WebhookDelivery:
    apply(known, core.attempted(known, the_delivery(known), answer, now, 1.0, 0.5))
    return the_delivery(known)


# -- the schedule --------------------------------------------------------------------------------------------------


def test_the_schedule_is_the_one_of_standard_webhooks() -> None:
    delays = [schedule.delay(attempts, 1.0, 0.5) for attempts in range(1, 11)]
    assert delays == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]


@given(st.integers(1, 9), st.floats(0, 1), st.floats(0.001, 1))
def test_jitter_is_a_fifth_to_both_sides(attempts: int, chance: float, pace: float) -> None:
    planned = schedule.DELAYS_S[attempts - 1] * pace
    wait = schedule.delay(attempts, pace, chance)
    assert wait is not None
    assert 0.79 * planned < wait < 1.21 * planned


@pytest.mark.parametrize(("wish", "wait"), [(None, 5), (3, 5), (60, 60), (10**9, 86400)])
def test_a_receiver_may_ask_for_more_patience_within_reason(wish: float | None, wait: float) -> None:
    assert schedule.delay(1, 1.0, 0.5, wish) == wait


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ("", None), (None, None), ("x", None), ("-1", None), ("٣", None),
                          ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("9" * 40, 999999999)],
)  # fmt: skip
def test_how_long_a_receiver_asks_for(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


# -- who hears of what ---------------------------------------------------------------------------------------------


def test_an_end_goes_once_to_each_endpoint_that_wants_it_and_to_the_url_of_its_prompt() -> None:
    others = [
        changed(ENDPOINT, id="we_" + "2" * 32, tenant="globex"),
        changed(ENDPOINT, id="we_" + "3" * 32, event_types=(FAILED,)),
        changed(ENDPOINT, id="we_" + "4" * 32, created_at=NOW + 1),
    ]
    known = knowing(ENDPOINT, *others)
    apply(known, core.scheduled(known, Happening(JOB, "acme", COMPLETED, NOW, "https://a.example"), NOW))
    made = known.deliveries.values()
    assert {(each.endpoint, each.url) for each in made} == {(ENDPOINT.id, None), (None, "https://a.example")}
    assert len({each.event for each in made}) == 1
    assert {known.url_of(each) for each in made} == {ENDPOINT.url, "https://a.example"}


def test_a_replayed_end_makes_nothing_new() -> None:
    known = knowing(ENDPOINT)
    apply(known, core.scheduled(known, END, NOW))
    assert core.scheduled(known, END, NOW + 60) == []


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [((COMPLETED, FAILED), FAILED), ((COMPLETED, FAILED, CANCELLED), CANCELLED), ((CANCELLED,), CANCELLED),
     ((COMPLETED,), None)],
)  # fmt: skip
def test_a_cancelled_video_has_failed_unless_one_asks_to_be_told(wanted: tuple[str, ...], heard: str | None) -> None:
    known = knowing(changed(ENDPOINT, event_types=wanted))
    apply(known, core.scheduled(known, Happening(JOB, "acme", CANCELLED, NOW), NOW))
    assert [each.type for each in known.deliveries.values()] == ([heard] if heard else [])


def is_end(event: Frozen) -> TypeGuard[Completion]:
    return isinstance(event, Completion)


def test_what_happens_to_a_job_is_named() -> None:
    ends = [end_of(end) for end in map(first, ("job_completed", "job_failed", "job_cancelled")) if is_end(end)]
    assert [end.type for end in ends] == [COMPLETED, FAILED, CANCELLED]
    assert {(end.job, end.tenant, end.at) for end in ends} == {(JOB, "acme", NOW + 9)}
    stage, record = next(iter(STATE.stages.items()))
    begun = STATE.model_copy(update={"stages": {stage: record.model_copy(update={"dispatches": 1})}})
    start = start_of(begun)
    assert start is not None
    assert (start.type, start.job, start.at) == (STARTED, JOB, NOW + 1)
    assert start_of(STATE) is None
    assert start_of(begun.model_copy(update={"status": JobStatus.WAITING, "lease": None})) is None


# -- what becomes of a delivery ------------------------------------------------------------------------------------


@pytest.fixture
def known() -> Known:
    known = knowing(ENDPOINT)
    apply(known, core.scheduled(known, END, NOW))
    return known


def test_a_delivery_is_tried_again_with_the_same_body_until_it_is_taken(known: Known) -> None:
    before = the_delivery(known)
    assert (before.outcome, before.next_at) == (DeliveryOutcome.PENDING, NOW)
    after = answered(known, Answer(0.2, error="ConnectError: refused"))
    assert (after.outcome, after.attempts, after.next_at) == (DeliveryOutcome.PENDING, 1, NOW + 5)
    assert (after.body, after.event) == (before.body, before.event)
    done = answered(known, OK, NOW + 5)
    assert (done.outcome, done.next_at) == (DeliveryOutcome.DELIVERED, None)
    assert [(each.status, each.error) for each in done.log] == [(None, "ConnectError: refused"), (200, None)]


@pytest.mark.parametrize("status", [302, 304, 400, 401, 404, 429, 500, 503])
def test_everything_but_a_2xx_is_tried_again(known: Known, status: int) -> None:
    assert answered(known, Answer(0.1, status)).next_at == NOW + 5


def test_the_last_failed_attempt_disables_the_endpoint_until_it_is_changed(known: Known) -> None:
    while the_delivery(known).next_at is not None:
        answered(known, BROKEN)
    failed = the_delivery(known)
    assert (failed.outcome, failed.attempts, len(failed.log)) == (DeliveryOutcome.FAILED, 10, 10)
    assert not known.serves(ENDPOINT)
    other = Happening("video_" + "0" * 32, "acme", COMPLETED, NOW)
    assert core.scheduled(known, other, NOW) == []
    known.take_endpoint(ENDPOINT.id, changed(ENDPOINT, revision=2))
    assert len(core.scheduled(known, other, NOW)) == 1


def test_an_endpoint_that_took_something_else_meanwhile_is_not_disabled(known: Known) -> None:
    poison = the_delivery(known)
    other = core.delivery_of(Happening("video_" + "0" * 32, "acme", COMPLETED, NOW), COMPLETED, NOW, ENDPOINT.id, None)
    apply(known, core.attempted(known, other, OK, NOW + 9, 1.0, 0.5))
    for _ in range(schedule.ATTEMPTS):
        apply(known, core.attempted(known, known.deliveries[poison.id], BROKEN, NOW + 99, 1.0, 0.5))
    assert known.deliveries[poison.id].outcome is DeliveryOutcome.FAILED
    assert known.serves(ENDPOINT)


def test_gone_is_gone_at_once(known: Known) -> None:
    assert answered(known, Answer(0.1, 410)).outcome is DeliveryOutcome.FAILED
    assert known.disabled[ENDPOINT.id].reason == "it answered 410 Gone"
    assert known.url_of(the_delivery(known)) is None


def test_a_deleted_endpoint_gets_nothing_more(known: Known) -> None:
    known.take_endpoint(ENDPOINT.id, None)
    assert known.url_of(the_delivery(known)) is None
    apply(known, core.dropped(the_delivery(known)))
    assert list(known.open_deliveries()) == []


def request(**fields: Any) -> DeliveryRequested:
    return DeliveryRequested(id="whr_" + "5" * 32, tenant="acme", endpoint=ENDPOINT.id, at=NOW, **fields)


def test_a_delivery_is_made_again_when_its_owner_asks(known: Known) -> None:
    done = answered(known, OK)
    changes = apply(known, core.requested(known, request(delivery=done.id), NOW + 60))
    again = the_delivery(known)
    assert (again.outcome, again.attempts, again.next_at, again.event) == ("pending", 0, NOW + 60, done.event)
    assert changes[-1] == (request().id, None)
    stranger = DeliveryRequested.model_validate(request(delivery=done.id).model_dump() | {"tenant": "globex"})
    assert core.requested(known, stranger, NOW) == [(stranger.id, None)]


def test_a_sample_is_tried_once_and_has_no_consequences() -> None:
    known = knowing(ENDPOINT)
    apply(known, core.requested(known, request(type=FAILED), NOW))
    assert (the_delivery(known).type, the_delivery(known).test) == (FAILED, True)
    assert answered(known, Answer(0.1, 410)).outcome is DeliveryOutcome.FAILED
    assert known.serves(ENDPOINT)


def test_the_log_is_let_go_after_the_completions_are(known: Known) -> None:
    answered(known, OK)
    assert core.forgotten(known, NOW + core.KEPT_S - 1) == []
    assert core.forgotten(known, NOW + core.KEPT_S + 1) == [(the_delivery(known).id, None)]
    apply(known, core.forgotten(known, NOW + core.KEPT_S + 1))
    assert known.deliveries == {}


def test_what_is_still_to_be_delivered_is_never_forgotten(known: Known) -> None:
    assert core.forgotten(known, NOW + 10 * core.KEPT_S) == []
    assert core.oldest_wait(known.open_deliveries(), NOW + 30) == 30
    assert core.oldest_wait([], NOW) == 0


# -- signatures ----------------------------------------------------------------------------------------------------


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
    end = Happening(JOB, "acme", COMPLETED, NOW, "https://a.example")
    by_endpoint, by_tenant = core.deliveries_of(known, end, NOW)
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


# -- who may be reached --------------------------------------------------------------------------------------------

INSIDE = (
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "168.63.129.16", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:808:808::1", "2001::1", "100::1", "3fff::1", "5f00::1", "192.88.99.1",
)  # fmt: skip
OUTSIDE = ("8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_inside_is_refused_in_whatever_clothes(address: str) -> None:
    assert forbidden(ip_address(address))
    assert not Gate().admits("a.example", address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_outside_may_be_reached(address: str) -> None:
    assert Gate().admits("a.example", address)


@pytest.mark.parametrize(
    ("allowed", "url", "problem"),
    [
        ("", "https://a.example/x?y=1", None),
        ("", "https://a.example:8443", None),
        ("", "http://a.example", "https"),
        ("", "ftp://a.example", "https"),
        ("", "https://127.0.0.1/", "private"),
        ("", "https://[::1]/", "private"),
        ("", "https://[::ffff:10.0.0.1]/", "private"),
        ("", "https://8.8.8.8/", None),
        ("", "https://me:secret@a.example/", "user name"),
        ("", "https:///x", "no host"),
        ("", "https://a.example:99999/", "no URL"),
        ("", "https://[::1/", "no URL"),
        ("localhost", "http://localhost:8000/", None),
        ("LOCALHOST, 10.0.0.0/8", "http://Localhost.:8000/", None),
        ("localhost", "http://127.0.0.1/", "https"),
        ("10.0.0.0/8", "http://10.1.2.3/", None),
        ("10.0.0.0/8", "https://11.0.0.1/", None),
        ("10.0.0.0/8", "https://192.168.0.1/", "private"),
    ],
)  # fmt: skip
def test_which_urls_are_taken(allowed: str, url: str, problem: str | None) -> None:
    found = Gate.of(allowed).problem_with_url(url)
    assert found is None if problem is None else found is not None and problem in found


def test_what_the_operator_names_may_be_reached_and_its_neighbours_not() -> None:
    gate = Gate.of("hook.internal, 10.1.0.0/16, fd00::/8")
    assert gate.admits("hook.internal", "127.0.0.1")
    assert gate.admits("a.example", "10.1.2.3")
    assert gate.admits("a.example", "fd00::1")
    assert not gate.admits("hook.internal.example", "127.0.0.1")
    assert not gate.admits("a.example", "10.2.0.1")


# -- who is in whose way -------------------------------------------------------------------------------------------

SLOW, QUICK, FOREIGN = Way("slow", "acme"), Way("quick", "acme"), Way("foreign", "globex")


def taken(due: Due, now: float) -> list[str]:
    return [delivery for delivery, _ in due.take(now)]


def test_nothing_is_sent_before_its_time_and_nothing_twice() -> None:
    due = Due()
    due.add("later", QUICK, 10.0)
    due.add("now", QUICK, 5.0)
    assert taken(due, 4.0) == []
    assert taken(due, 5.0) == ["now"]
    assert taken(due, 5.0) == []
    assert taken(due, 10.0) == ["later"]
    assert due.under_way == 2


def test_a_slow_receiver_holds_up_itself_alone() -> None:
    due = Due()
    for number in range(1000):
        due.add(f"slow-{number:04}", SLOW, 0.0)
    assert len(taken(due, 1.0)) == AT_ONCE_TO_ONE
    due.add("quick", QUICK, 1.0)
    due.add("foreign", FOREIGN, 1.0)
    assert set(taken(due, 1.0)) == {"quick", "foreign"}
    due.done(SLOW, 2.0)
    assert taken(due, 2.0) == [f"slow-{AT_ONCE_TO_ONE:04}"]


def test_a_tenant_with_many_slow_receivers_leaves_room_for_others() -> None:
    due, ways = Due(), [Way(f"receiver-{number}", "acme") for number in range(50)]
    for way in ways:
        due.add(way.receiver, way, 0.0)
    due.add("foreign", FOREIGN, 0.5)
    began = taken(due, 1.0)
    assert len(began) == AT_ONCE_OF_ONE + 1
    assert "foreign" in began
    seen = set(began)
    for way in ways:
        if way.receiver in seen:
            due.done(way, 2.0)
            seen |= set(taken(due, 2.0))
    assert seen == {way.receiver for way in ways} | {"foreign"}


def test_one_who_asks_for_patience_gets_it() -> None:
    due = Due()
    due.add("a", QUICK, 0.0)
    due.pause(QUICK, 30.0)
    due.add("b", QUICK, 1.0)
    assert taken(due, 29.0) == []
    assert taken(due, 30.0) == ["a", "b"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=60), st.randoms(use_true_random=False))
def test_everything_is_sent_once_whoever_is_slow(added: list[tuple[int, int]], random: Any) -> None:
    due, under_way, sent = Due(), list[Way](), list[str]()
    for number, (receiver, at) in enumerate(added):
        due.add(str(number), Way(f"r{receiver}", f"t{receiver % 2}"), float(at))
    for now in range(10, 10 + 2 * len(added) + 2):
        for delivery, way in due.take(float(now)):
            sent.append(delivery)
            under_way.append(way)
        if under_way:
            due.done(under_way.pop(random.randrange(len(under_way))), float(now))
    assert sorted(sent) == sorted(str(number) for number in range(len(added)))
    assert len(due) == due.under_way == len(under_way) == 0
