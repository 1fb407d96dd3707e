"""The table of rights says what it should: what must never be possible, spelled out beside it."""

from __future__ import annotations

import pytest

from infra.local.services import services
from infra.security.rights import Rights, principal, table
from infra.security.store import policy

TABLE = table(services({"decode,mux": 1}), ("acme",))
WORKERS = tuple(name for name in TABLE if name.startswith("worker-"))


def topics_of(name: str, act: str) -> set[str]:
    return {topic.name for topic in getattr(TABLE[name], act)}


def test_every_service_has_a_principal_of_its_kind() -> None:
    assert {principal(service) for service in services({"decode,mux": 1})} <= TABLE.keys()
    assert {"worker-encode", "worker-decode-mux", "coordinator", "views", "gateway", "upstream-acme"} <= TABLE.keys()


@pytest.mark.parametrize("topic", ["jobs", "completions", "policy", "tasks.denoise"])
def test_only_the_coordinator_writes_what_others_believe(topic: str) -> None:
    assert [name for name in TABLE if topic in topics_of(name, "writes")] == ["coordinator"]


def test_dead_letters_come_from_coordinator_and_janitor_and_the_operator_drops_them() -> None:
    assert [name for name in TABLE if "dlq" in topics_of(name, "writes")] == ["coordinator", "janitor", "operator"]


def test_coordinator_and_janitor_keep_the_catalogue_and_the_janitor_alone_removes_what_is_deleted() -> None:
    assert [name for name in TABLE if "videos" in topics_of(name, "writes")] == ["coordinator", "janitor"]
    assert [name for name, rights in TABLE.items() if "videos/*" in rights.deletes] == ["janitor", "operator"]
    assert "prompts" not in topics_of("janitor", "writes") | topics_of("janitor", "reads")


def test_prompts_come_from_upstream_the_gateway_and_the_operator_and_only_the_line_reads_them() -> None:
    assert {name for name in TABLE if "prompts" in topics_of(name, "writes")} == {
        "upstream-acme", "gateway", "operator"
    }  # fmt: skip
    assert {name for name in TABLE if "prompts" in topics_of(name, "reads")} == {"coordinator", "operator"}


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_reads_its_inboxes_and_says_what_it_does(name: str) -> None:
    stages = name.split("-")[1:]
    assert topics_of(name, "reads") == {f"tasks.{stage}" for stage in stages}
    assert topics_of(name, "writes") == {"reports", "progress"}
    assert TABLE[name].transactions == TABLE[name].joins == ()


def test_one_holds_cells_one_commits_for_them_and_nobody_but_the_operator_makes_topics() -> None:
    transactions = {name: rights.transactions for name, rights in TABLE.items() if rights.transactions}
    assert transactions == {"coordinator": ("latentline.cell-*",), "notifier": ("latentline.notifier",)}
    assert [name for name, rights in TABLE.items() if "latentline.coordinator" in rights.joins] == ["coordinator"]
    assert [name for name, rights in TABLE.items() if rights.manages] == ["operator"]


def test_tenants_are_spoken_for_by_their_own_the_gateway_and_the_operator() -> None:
    assert {name: rights.speaks_for for name, rights in TABLE.items() if rights.speaks_for != ()} == {
        "upstream-acme": ("acme",), "gateway": None, "operator": None
    }  # fmt: skip


def test_webhooks_are_known_to_the_gateway_that_sets_them_up_and_the_notifier_that_sends_them() -> None:
    assert {name for name, rights in TABLE.items() if "webhook_secret" in rights.shares} == {"gateway", "notifier"}
    assert {name for name in TABLE if "webhooks" in topics_of(name, "writes")} == {"gateway", "notifier"}
    assert [name for name in TABLE if "endpoints" in topics_of(name, "writes")] == ["gateway", "operator"]
    assert not TABLE["notifier"].uses_store


def test_a_policy_names_actions_and_objects_one_by_one() -> None:
    for rights in TABLE.values():
        text = str(policy("b", rights))
        assert "s3:*" not in text
        assert "'arn:aws:s3:::b/*'" not in text
    assert policy("b", Rights(gets=("videos/*",)))["Statement"] == [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::b"]},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/videos/*"]},
    ]
