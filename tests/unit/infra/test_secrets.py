"""Where secrets come from and to whom they go."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from pydantic import ValidationError

from infra.local.kafka import properties, quoted
from infra.local.plan import Plan
from infra.local.services import services
from infra.security.access import Guarded
from infra.security.vault import Vault
from latentline.commands.stack import tenants_of
from runtime.settings import Settings
from tests.secrets import leaks, secrets_of


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan.draw(tmp_path / "data", services({"decode,mux": 1}), any_ports=True, tenants=("acme", "globex"))


def guarded(plan: Plan) -> Guarded:
    access = plan.access
    assert isinstance(access, Guarded)
    return access


def test_a_secret_is_drawn_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = Vault(tmp_path).secret("views", "kafka_password").get_secret_value()
    assert Vault(tmp_path).secret("views", "kafka_password").get_secret_value() == first
    assert Vault(tmp_path).secret("operator", "kafka_password").get_secret_value() != first
    assert len(first) == 32
    assert (tmp_path / "views").stat().st_mode & 0o777 == 0o700
    (file,) = (tmp_path / "views").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_process_reads_its_secrets_from_its_folder_and_a_variable_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Vault(tmp_path).secret("views", "kafka_password")
    monkeypatch.setenv("LATENTLINE_SECRETS_DIR", str(tmp_path / "views"))
    assert Settings().kafka_password == drawn
    assert Settings().store_secret_key.get_secret_value() == ""
    monkeypatch.setenv("LATENTLINE_KAFKA_PASSWORD", "another")
    assert Settings().kafka_password.get_secret_value() == "another"
    monkeypatch.setenv("LATENTLINE_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.warns(UserWarning, match="nowhere"), pytest.raises(ValidationError, match="secrets_dir"):
        Settings()


def test_a_service_is_told_where_its_secrets_are_and_none_of_them(plan: Plan) -> None:
    environments = {service.name: plan.service_environment(service) for service in plan.services}
    told = {name: "\0".join(values.values()).encode() for name, values in environments.items()}
    assert leaks(plan.data / "logs", told, secrets_of_saved(plan)) == []
    folders = {name: Path(values["LATENTLINE_SECRETS_DIR"]).name for name, values in environments.items()}
    assert folders == {
        "coordinator": "coordinator", "encode": "worker-encode", "denoise": "worker-denoise",
        "decode": "worker-decode", "decode-mux": "worker-decode-mux", "mux": "worker-mux", "views": "views",
        "gateway": "gateway", "notifier": "notifier", "janitor": "janitor",
    }  # fmt: skip
    assert [name for name, values in environments.items() if "LATENTLINE_SIGNERS_FILE" in values] == ["coordinator"]


def secrets_of_saved(plan: Plan) -> list[str]:
    plan.save()
    return secrets_of(plan.data)


def test_each_has_the_secrets_that_it_needs(plan: Plan) -> None:
    access = guarded(plan)
    assert set(access.secrets("coordinator")) == {"kafka_password"}
    assert set(access.secrets("worker-mux")) == {"kafka_password", "store_secret_key"}
    assert set(access.secrets("upstream-acme")) == {"kafka_password", "signing_key"}
    assert set(access.secrets("operator")) == {
        "kafka_password", "store_secret_key", "signing_key", "gateway_key_secret"
    }  # fmt: skip
    assert access.secrets("operator")["gateway_key_secret"] == access.secrets("gateway")["gateway_key_secret"]
    assert set(access.secrets("notifier")) == {"kafka_password", "webhook_secret"}
    assert access.secrets("notifier")["webhook_secret"] == access.secrets("gateway")["webhook_secret"]
    assert {name: signer.tenants for name, signer in access.signers().items()} == {
        "upstream-acme": ("acme",), "upstream-globex": ("globex",), "gateway": None, "operator": None
    }  # fmt: skip


def test_an_open_line_is_as_it_was(tmp_path: Path) -> None:
    plan = Plan.draw(tmp_path, services(), any_ports=True)
    assert "kafka_username" not in str(plan.environment()).lower()
    assert plan.service_environment(plan.services[0]).items() >= plan.environment().items()
    assert "sasl" not in properties(tmp_path, 1, 2, plan.access.broker).lower()
    assert not (tmp_path / "secrets").exists()


def test_java_reads_an_argument_as_it_was_meant() -> None:
    assert quoted('a "b" \\c') == '"a \\"b\\" \\\\c"'


def test_tenants_are_named_for_a_secure_line_alone() -> None:
    assert tenants_of(False, []) == ()
    assert tenants_of(True, []) == ("default",)
    assert tenants_of(True, ["acme", "globex", "acme"]) == ("acme", "globex")
    for secure, names in ((False, ["acme"]), (True, ["../acme"]), (True, [""])):
        with pytest.raises(typer.BadParameter):
            tenants_of(secure, names)
