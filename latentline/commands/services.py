"""The processes of the line, each in the foreground until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from latentline import line
from schemas.stage import STAGES, Stage


def worker(
    stages: Annotated[str, typer.Argument(metavar="STAGES", help="encode, denoise, decode, mux; comma-separated.")],
    name: Annotated[str | None, typer.Option(help="Stable name; two workers of one name replace each other.")] = None,
    device: Annotated[str | None, typer.Option(help="torch device of the compute child, such as cuda:0.")] = None,
) -> None:
    """Run a worker for one stage or several in the foreground."""
    from infra.local.services import THREADING
    from streams.worker.main import run_worker

    served = stages_of(stages)
    for variable, value in THREADING.items():
        os.environ.setdefault(variable, value)
    named = {"worker_name": name, "device": device}
    settings = line.settings().model_copy(update={field: value for field, value in named.items() if value})
    raise typer.Exit(run_worker(settings, served))


def coordinator() -> None:
    """Run a coordinator in the foreground.

    A second one stands by and takes over when the first dies.
    """
    from streams.coordinator.service import run_coordinator

    raise typer.Exit(run_coordinator(line.settings()))


def views() -> None:
    """Run the usage views (Faust) in the foreground."""
    from streams.usage.main import run_views

    raise typer.Exit(run_views(line.settings()))


def gateway() -> None:
    """Run the HTTP gateway in the foreground."""
    from gateway.main import run_gateway

    raise typer.Exit(run_gateway(line.settings()))


def notifier() -> None:
    """Run the webhook notifier in the foreground.

    A second one stands by and takes over when the first dies.
    """
    from webhooks.main import run_notifier

    raise typer.Exit(run_notifier(line.settings()))


def janitor() -> None:
    """Run the janitor, which removes what is deleted or expired.

    A second one beside it does no harm.
    """
    from operations.janitor.main import run_janitor

    raise typer.Exit(run_janitor(line.settings()))


def stages_of(text: str) -> tuple[Stage, ...]:
    """Raises `typer.BadParameter` for a stage that is none, or named twice."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in STAGES]
    if unknown or len(set(names)) < len(names):
        what = f"{unknown[0]!r} is no stage" if unknown else "a stage is named twice"
        raise typer.BadParameter(f"{what}: {', '.join(STAGES)}, comma-separated")
    return tuple(Stage(name) for name in names)
