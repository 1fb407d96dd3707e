"""Which services and which ports a stack has."""

from __future__ import annotations

import socket
from pathlib import Path

from infra.local import ports
from infra.local.plan import Plan
from infra.local.services import SERVICES, services


def test_one_worker_a_stage_unless_told_otherwise() -> None:
    names = [service.name for service in services(workers={"denoise": 2, "mux": 0, "decode,mux": 1})]
    stages = ["encode", "denoise", "denoise-2", "decode", "decode-mux"]
    assert names == ["coordinator", *stages, "views", "gateway", "notifier", "janitor"]
    usual = ["coordinator", "encode", "denoise", "decode", "mux", "views", "gateway", "notifier", "janitor"]
    assert [service.name for service in SERVICES] == usual


def test_a_service_is_a_command_and_a_port_of_its_own() -> None:
    by_name = {service.name: service for service in services(workers={"denoise": 2, "decode,mux": 1})}
    assert by_name["denoise-2"].argv[1:] == ["-m", "latentline", "worker", "denoise"]
    assert by_name["decode-mux"].arguments == ("worker", "decode,mux")
    assert len({service.port for service in by_name.values()}) == len(by_name)


def test_a_taken_port_is_replaced_and_the_others_are_the_usual_ones(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((ports.HOST, 0))
        taken.listen()
        held = taken.getsockname()[1]
        first, second, third = ports.choose([held, held + 1, 0], taken=[])
    assert first != held
    assert len({first, second, third}) == 3


def test_ports_that_another_stack_holds_are_not_chosen(tmp_path: Path) -> None:
    free = ports.choose([0])[0]
    assert ports.choose([free], taken=[free])[0] != free


def test_a_plan_is_read_as_it_was_written_and_draws_its_ports_again(tmp_path: Path) -> None:
    plan = Plan.draw(tmp_path, services(workers={"denoise": 2}), any_ports=True, tied_to=1)
    plan.save()
    assert Plan.load(tmp_path) == plan
    again = Plan.draw(tmp_path, SERVICES)
    assert again.ports == {name: plan.ports[name] for name in again.ports}


def test_a_plan_of_another_release_is_drawn_anew(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"kafka_port": 1}')
    assert set(Plan.draw(tmp_path, any_ports=True).ports) > {service.name for service in SERVICES}
