"""compose.yaml against the compose specification's own schema, and against what `latentline up` starts."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from gateway.api_keys import check_mode
from infra.local import kafka, minio_binary, supervisor
from infra.local.minio import Credentials, MinioServer
from infra.local.plan import PROJECT
from infra.local.services import SERVER_PORTS, SERVICES, THREADING, Service
from runtime.settings import Settings

FOLDER = PROJECT / "infra" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
SEPARATE = {"views": "views", "gateway": "gateway", "notifier": "notifier"}
"""Services with an image of their own, to the extra of pyproject.toml that it installs."""
PINNED = re.compile(r"^[a-z0-9/.-]+:[a-z-]*v?\d+\.\d+(\.\d+)?[a-z0-9.-]*$")


def published(container: dict[str, Any]) -> set[int]:
    """Host ports; the container's own must be the same, and only this host may reach them."""
    found = set()
    for text in container.get("ports", ()):
        host, outside, inside = text.split(":")
        assert (host, outside) == ("127.0.0.1", inside)
        found.add(int(inside))
    return found


def build_stages(dockerfile: Path) -> dict[str, str]:
    """Name of each build stage to what it is made from."""
    froms = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", dockerfile.read_text(), re.MULTILINE)
    return {name or "": base for base, name in froms}


def test_it_is_valid_compose() -> None:
    schema = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, orjson.loads(schema.read_bytes()))


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_is_the_one_of_the_local_stack(service: Service) -> None:
    container = CONTAINERS[service.name]
    environment = container["environment"]
    assert tuple(container["command"]) == service.arguments
    assert environment["LATENTLINE_METRICS_PORT"] == str(service.port)
    assert environment["LATENTLINE_WORKER_NAME"] == service.name
    assert service.port in published(container)
    assert environment.items() >= THREADING.items()
    assert container["stop_grace_period"] == f"{supervisor.STOP_GRACE:g}s"


def test_nothing_else_runs_but_servers_init_services_and_observers() -> None:
    own = {service.name for service in SERVICES}
    core = own | {"kafka", "minio", "topics", "bucket"}
    profiles = {name: tuple(container["profiles"]) for name, container in CONTAINERS.items()}
    assert profiles == dict.fromkeys(core, ("core",)) | dict.fromkeys(("prometheus", "grafana"), ("obs",))


def test_every_variable_is_a_setting_and_its_value_one_that_the_setting_takes() -> None:
    for name, container in CONTAINERS.items():
        given = {key: value for key, value in container.get("environment", {}).items() if key.startswith("LATENTLINE_")}
        fields = {key.removeprefix("LATENTLINE_").lower(): value for key, value in given.items()}
        assert fields.keys() <= Settings.model_fields.keys(), name
        Settings.model_validate(fields)


def test_every_secret_is_drawn_once_and_kept_from_others(tmp_path: Path) -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", (FOLDER / "compose.yaml").read_text()))
    script = shutil.copy(FOLDER / "draw.sh", tmp_path)
    subprocess.run(["sh", script], check=True)
    drawn = (tmp_path / ".env").read_text()
    values = dict(line.split("=") for line in drawn.splitlines())
    assert values.keys() == wanted
    assert [len(value) for value in values.values()] == [48] * len(wanted)
    assert len(set(values.values())) == len(wanted)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    subprocess.run(["sh", script], check=True)
    assert (tmp_path / ".env").read_text() == drawn


def test_the_gateway_may_start_there_and_knows_no_key_that_others_know() -> None:
    """`test_every_variable_is_a_setting` cannot see it: here every secret is what `draw.sh` would draw."""
    given = CONTAINERS["gateway"]["environment"]
    fields = {key.removeprefix("LATENTLINE_").lower(): value for key, value in given.items()}
    secrets = {name: "d" * 48 for name, value in fields.items() if value.startswith("${")}
    settings = Settings.model_validate(fields | secrets)
    check_mode(settings)
    assert settings.gateway_host == "0.0.0.0"
    assert settings.gateway_mode == CONTAINERS["notifier"]["environment"]["LATENTLINE_GATEWAY_MODE"] == "production"
    assert secrets.keys() >= {"gateway_default_key", "gateway_key_secret", "webhook_secret"}


def test_broker_settings_are_those_of_the_local_broker() -> None:
    local = dict(line.split("=", 1) for line in kafka.properties(Path("/data"), 9092, 9093).splitlines())
    here = CONTAINERS["kafka"]["environment"]
    of_the_place = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
    differing = {name: value for name, value in local.items() if here.get(_variable(name)) != value}
    assert differing.keys() <= of_the_place
    assert all(_variable(name) in here for name in of_the_place)
    assert here["KAFKA_HEAP_OPTS"].split() == kafka.HEAP
    assert CONTAINERS["kafka"]["image"] == f"apache/kafka:{kafka.VERSION}"


def _variable(name: str) -> str:
    return "KAFKA_" + name.upper().replace(".", "_")


def test_the_store_is_the_local_one() -> None:
    stages = build_stages(FOLDER / "minio.Dockerfile")
    text = (FOLDER / "minio.Dockerfile").read_text()
    assert f"ARG VERSION={minio_binary.VERSION}\n" in text
    assert f"{minio_binary.MODULE}@${{VERSION}}" in text
    assert stages["build"] == f"golang:{minio_binary.go_version()}-alpine"
    local = MinioServer(Path("/d"), Path("/l"), "", 9000, 9001, Credentials("latentline", "secret")).process.environment
    here = CONTAINERS["minio"]["environment"]
    assert here.keys() == local.keys() - {"HOME"}
    assert {name for name, value in local.items() if here.get(name, value) != value} == {"MINIO_ROOT_PASSWORD"}
    assert here["MINIO_ROOT_PASSWORD"] == CONTAINERS["bucket"]["environment"]["LATENTLINE_STORE_SECRET_KEY"]


def test_the_usual_ports_and_no_port_twice() -> None:
    ports = [port for container in CONTAINERS.values() for port in published(container)]
    assert len(ports) == len(set(ports))
    assert set(SERVER_PORTS.values()) - {SERVER_PORTS["kafka-controller"]} <= set(ports)


def test_no_image_of_ours_runs_as_root_and_no_service_gains_rights() -> None:
    for name in ("Dockerfile", "minio.Dockerfile"):
        *built, last = re.split(r"^FROM ", (FOLDER / name).read_text(), flags=re.MULTILINE)[1:]
        targets = {container["build"].get("target") for container in CONTAINERS.values() if "build" in container}
        for stage in (last, *(each for each in built if each.split()[2] in targets)):
            assert re.findall(r"^USER (\w+)$", stage, re.MULTILINE)[-1:] in (["latentline"], ["minio"]), stage
    for service in SERVICES:
        assert CONTAINERS[service.name]["cap_drop"] == ["ALL"]
        assert CONTAINERS[service.name]["security_opt"] == ["no-new-privileges:true"]


def test_every_tag_is_pinned() -> None:
    stages = build_stages(FOLDER / "Dockerfile") | build_stages(FOLDER / "minio.Dockerfile")
    bases = [base for base in stages.values() if base not in stages]
    images = [container["image"] for container in CONTAINERS.values()]
    assert [image for image in (*images, *bases) if not PINNED.match(image)] == []
    assert {image for image in images if image.startswith("latentline")} == {
        f"latentline{part}:{VERSION}" for part in ("", "-runner", "-views", "-gateway", "-notifier", "-minio")
    }


def test_what_is_built_mounted_and_waited_for_is_there() -> None:
    for container in CONTAINERS.values():
        if "build" in container:
            context = (FOLDER / container["build"]["context"]).resolve()
            dockerfile = context / container["build"]["dockerfile"]
            assert container["build"].get("target", "") in build_stages(dockerfile)
        for source in (volume.split(":")[0] for volume in container.get("volumes", ())):
            assert (FOLDER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
        assert set(container.get("depends_on", ())) <= CONTAINERS.keys()
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    kept = {line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().split() if line.startswith("!")}
    for source in " ".join(copied).split():
        assert (PROJECT / source).exists()
        assert source.partition("/")[0] in kept


def test_each_image_carries_what_its_services_import() -> None:
    """The extras of pyproject.toml: torch for the workers alone, Faust for the views alone."""
    targets = {service.name: CONTAINERS[service.name]["build"]["target"] for service in SERVICES}
    workers = {service.name for service in SERVICES if service.arguments[0] == "worker"}
    assert targets == dict.fromkeys(workers, "runner") | dict.fromkeys(("coordinator", "janitor"), "line") | SEPARATE
    installs = dict(
        re.findall(r"^FROM base AS (\w+)\nRUN .*\.\[(\w+)\]", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    )
    assert installs == {"runner": "runner"} | SEPARATE


def test_prometheus_scrapes_every_service() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    scraped = {entry["labels"]["service"]: entry["targets"] for entry in job["static_configs"]}
    assert job["job_name"] == "latentline"
    assert scraped == {service.name: [f"{service.name}:{service.port}"] for service in SERVICES}
