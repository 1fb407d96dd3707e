"""No secret lies about, and none is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.local import line_checks
from infra.local.finding import Problem, Subject
from infra.local.stack import Stack
from tests.broker.secure.line import NAMES, Secure
from tests.secrets import command_lines, leaks, records, secrets_of

pytestmark = pytest.mark.broker


def test_a_wrong_password_is_let_in_nowhere_and_is_not_repeated(secure: Secure, tmp_path: Path) -> None:
    wrong = {"kafka_password": SecretStr("hunter2"), "store_secret_key": SecretStr("hunter2")}
    settings = secure.operator.model_copy(update=wrong)
    for check in (line_checks.broker, line_checks.store):
        with pytest.raises(Problem) as caught:
            check(Subject(settings, Stack(tmp_path)))
        assert "LATENTLINE_" in caught.value.remedy
        assert "hunter2" not in f"{caught.value}{caught.value.remedy}"
    with pytest.raises(Problem, match="not as a Kafka broker"):
        line_checks.broker(Subject(settings.model_copy(update={"kafka_username": ""}), Stack(tmp_path)))


def test_secrets_are_kept_where_only_their_owner_reads_them(secure: Secure) -> None:
    folder = secure.stack.data
    assert folder.stat().st_mode & 0o077 == 0
    private = [*folder.glob("secrets/*/*"), folder / "credentials", folder / "stack.json",
               folder / "kafka" / "server.properties"]  # fmt: skip
    assert len(private) > len(NAMES)
    assert [path for path in private if path.stat().st_mode & 0o077] == []


def test_a_run_leaves_no_secret_behind(secure: Secure) -> None:
    """Files, records of every topic, command lines. The same search runs over what chaos has left."""
    told = records(secure.operator) | command_lines(secure.stack.data)
    assert {"jobs", "dlq"} <= told.keys()
    assert any("process" in name for name in told)
    secrets = secrets_of(secure.stack.data)
    assert len(set(secrets)) > 2 * len(NAMES) - 4
    assert leaks(secure.stack.data, told, secrets) == []


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker.log").write_text("password=hunter2")
    (tmp_path / "credentials").write_text("hunter2")
    told = {"jobs": b"...", "dlq": b"..hunter2.."}
    assert leaks(tmp_path, told, ["hunter2"]) == [str(tmp_path / "logs" / "worker.log"), "dlq"]
