"""`latentline drain`: a worker leaves without losing a step."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from latentline import line
from latentline.failures import CommandFailed, refused
from latentline.terminal import echo
from schemas.printable import printable

if TYPE_CHECKING:
    from schemas.events.reports import Heartbeat

NEAREST = 3


def drain(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help="Its name, such as denoise-2.")],
    reason: Annotated[str, typer.Option(help="For the worker's log.")] = "asked by an operator",
    patience: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long to wait; 0 = not.")] = 120.0,
) -> None:
    """Have a worker leave.

    It takes nothing new, finishes what is short, hands the rest over from a checkpoint, and ends with exit code 0. A
    local line does not start it again.
    """
    from pydantic import ValidationError

    from operations.workers import WorkerRegistry

    with WorkerRegistry(line.settings()) as roll:
        if worker not in roll.names():
            raise CommandFailed(no_such(worker, roll.names()))
        try:
            roll.ask_to_leave(worker, reason)
        except ValidationError as error:
            raise refused(error, "--reason") from None
        echo(f"asked {worker} to leave")
        if patience:
            said = ""
            for heard in roll.wait_drained(worker, patience):
                if (now := words(worker, heard.beat)) != said:
                    echo(said := now)


def words(worker: str, beat: Heartbeat) -> str:
    if beat.leaving:
        return f"{worker} has left"
    held = printable(", ".join(f"{lease.stage} of {lease.job}" for lease in beat.leases))
    return f"{worker} {'is leaving' if beat.draining else 'works on'}{f', it still holds {held}' if held else ''}"


def no_such(worker: str, names: list[str]) -> str:
    if not names:
        return f"no worker {worker}: none is heard; `latentline doctor` tells more"
    near = difflib.get_close_matches(worker, names, n=NEAREST, cutoff=0.0)
    return f"no worker {worker}: the nearest of {len(names)} that are heard: {printable(', '.join(near))}"
