"""The local stack: start, stop, examine; and the topics of any line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from latentline import line
from latentline.failures import CommandFailed
from latentline.terminal import echo

if TYPE_CHECKING:
    from infra.local.stack import Stack
    from runtime.settings import Settings

Answer = TypeVar("Answer")
DEFAULT_TENANT = "default"
topics = typer.Typer(no_args_is_help=True, help="The topics on the broker, by the one table of topics.")

AnyPorts = Annotated[bool, typer.Option("--any-ports", help="Keep clear of the usual ports (9092, 9000, ...).")]
Workers = Annotated[
    list[str], typer.Option("--workers", metavar="STAGE=N", help="How many workers of a stage; may be repeated.")
]


Secure = Annotated[bool, typer.Option("--secure", help="Users with least rights; prompts are signed.")]
Tenants = Annotated[
    list[str], typer.Option("--tenant", metavar="NAME", help="Whom a secure line takes prompts of; may be repeated.")
]


def up(
    any_ports: AnyPorts = False, workers: Workers = [], secure: Secure = False, tenants: Tenants = [],  # noqa: B006
) -> None:  # fmt: skip
    """Start a whole line on this machine; it stays until `down`.

    Kafka, MinIO, the coordinator, a worker for each stage, the views, the gateway, the notifier and the janitor, in
    `.latentline` or LATENTLINE_DATA_DIR. A secure line stays secure; its secrets are in `secrets/` there, each tenant's
    first API key too.
    """
    from infra.local.services import services
    from runtime.settings import Settings

    Settings()  # what no process would start with is refused before any is started
    stack = line.local_stack()
    if stack.is_running:
        echo(f"already up ({stack.data}); `latentline down` stops it")
    else:
        known = tenants_of(secure, tenants)
        stack.up(services(worker_counts(workers)), any_ports=any_ports, say=progress_lines(), tenants=known)
    echo(places(stack))


def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove the data folder too: all jobs and videos.")] = False,
) -> None:
    """Stop the line on this machine, in order; its data stays.

    The next `up` goes on with the jobs that wait.
    """
    stack = line.local_stack()
    running = stack.status()["state"] != "down"
    left = stack.down(wipe=wipe)
    found = f"ended {left} processes that an earlier life had left" if left else "nothing was running"
    said = "stopped" if running else found
    echo(f"{said}; {'removed' if wipe else 'data stays in'} {stack.data}")


def doctor() -> None:
    """Say what is wrong here, and what to do about it."""
    from infra.local.doctor import check
    from latentline import display
    from runtime.settings import Settings

    console, findings = display.console(), check(Settings(), line.local_stack())
    for finding in findings:
        console.print("ok  " if finding.ok else "BAD ", style="green" if finding.ok else "red", end="")
        console.print(f"{finding.name}: {finding.message}")
        if not finding.ok and finding.remedy:
            console.print(f"      {finding.remedy}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@topics.command("apply")
def apply_topics() -> None:
    """Create missing topics and correct what differs."""
    from infra.local import topics as broker

    settings = line.settings()
    ask_broker(lambda: broker.apply(settings))
    echo(f"the topics on {settings.kafka_bootstrap} are as the table says")


@topics.command("check")
def check_topics() -> None:
    """List what differs from the table.

    The exit code is 1 if anything does.
    """
    from infra.local import topics as broker

    settings = line.settings()
    differences = ask_broker(lambda: broker.check(settings))
    for difference in differences:
        echo(str(difference))
    if differences:
        raise CommandFailed(f"{len(differences)} difference(s): `latentline topics apply` corrects them")
    echo(f"the topics on {settings.kafka_bootstrap} are as the table says")


def ask_broker(request: Callable[[], Answer]) -> Answer:
    """Raises `CommandFailed` with the broker's words."""
    from confluent_kafka import KafkaException

    try:
        return request()
    except KafkaException as error:
        raise CommandFailed(f"Kafka did not do it: {error.args[0].str()}") from None


def tenants_of(secure: bool, names: list[str]) -> tuple[str, ...]:
    """Of a secure line one at least; raises `typer.BadParameter` for a name that is none, and in an open line."""
    from pydantic import TypeAdapter, ValidationError

    from schemas.field_types import Name

    if names and not secure:
        raise typer.BadParameter("an open line takes prompts of everybody: say --secure too", param_hint="--tenant")
    try:
        given = TypeAdapter(tuple[Name, ...]).validate_python(tuple(dict.fromkeys(names)))
    except ValidationError as error:
        raise typer.BadParameter(error.errors(include_url=False)[0]["msg"], param_hint="--tenant") from None
    return (given or (DEFAULT_TENANT,)) if secure else ()


def worker_counts(texts: list[str]) -> dict[str, int]:
    """`denoise=2` to a count; raises `typer.BadParameter`."""
    return dict(worker_count(text) for text in texts)


def worker_count(text: str) -> tuple[str, int]:
    from latentline.commands.services import stages_of

    served, _, count = text.partition("=")
    if not (count.isascii() and count.isdigit()):
        raise typer.BadParameter(f"{text!r} is not STAGE=N, such as denoise=2", param_hint="--workers")
    return ",".join(stages_of(served)), int(count)


def progress_lines() -> Callable[[str], None]:
    """Prints what the stack does, with the seconds since the first word."""
    began = time.monotonic()
    return lambda text: echo(f"  {time.monotonic() - began:5.1f} s  {text}")


def places(stack: Stack) -> str:
    environment, key = stack.environment(), key_line(line.settings_of(stack))
    key = "\n".join([key, *(f"  first key of {tenant}: {file}" for tenant, file in first_keys(stack).items())])
    return (
        f"Kafka {environment['LATENTLINE_KAFKA_BOOTSTRAP']}   store {environment['LATENTLINE_STORE_ENDPOINT']}   "
        f"logs {stack.data / 'logs'}\n"
        f"Page and API http://127.0.0.1:{environment['LATENTLINE_GATEWAY_PORT']}   {key}\n"
        'Next: latentline submit "a red circle moving right on a blue background" --watch'
    )


def key_line(settings: Settings) -> str:
    """The key that a newcomer needs; nobody else's is printed."""
    from runtime.settings import DEFAULT_KEY

    is_default = settings.gateway_default_key.get_secret_value() == DEFAULT_KEY
    return f"API key {DEFAULT_KEY} (development)" if is_default else "API keys: latentline keys create"


def first_keys(stack: Stack) -> dict[str, Path]:
    """Files with the first API key of each tenant of a secure line; their content is not printed."""
    from infra.local.plan import Plan
    from infra.security.access import Guarded
    from infra.security.api_keys import file_of

    plan = Plan.load(stack.data)
    access = plan.access
    return {name: file_of(access.vault, name) for name in plan.tenants} if isinstance(access, Guarded) else {}
