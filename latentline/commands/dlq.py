"""`latentline dlq`: what could not be used, why, and back into the line with it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from latentline import line
from latentline.failures import CommandFailed
from latentline.terminal import echo
from latentline.time_arguments import moment
from schemas.printable import printable

if TYPE_CHECKING:
    from operations.dead_letters.records import DeadLetterRecord, Filter
    from operations.dead_letters.redrive import Redriven

dlq = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, redrive, drop.")

Reason = Annotated[str | None, typer.Option(help="Only those with this reason, such as not_json.")]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant's.")]
Since = Annotated[str | None, typer.Option(metavar="AGE|TIME", help="Not older than: 90s, 30m, 2h, 7d, or ISO 8601.")]
Until = Annotated[str | None, typer.Option(metavar="AGE|TIME", help="Older than.")]
Places = Annotated[list[str] | None, typer.Argument(metavar="[PLACE]...", help="As `dlq list` names them.")]
Everything = Annotated[bool, typer.Option("--all", help="All that the options leave.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@dlq.command("list")
def list_letters(
    reason: Reason = None, tenant: Tenant = None, since: Since = None, until: Until = None,
    dropped: Annotated[bool, typer.Option("--dropped", help="Those that were dropped instead.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """List dead letters, oldest first."""
    from latentline import display
    from latentline.output import to_json
    from operations.dead_letters.records import dead_letters

    found = list(dead_letters(line.settings(), filter_of(reason, tenant, since, until, dropped)))
    if as_json:
        for letter in found:
            echo(to_json(head_of(letter)))
        return
    if not found:
        echo("no dead letters", err=True)
        return
    table = display.columns("place", "age", "reason", "tenant", "origin", "why", numbers=["age"])
    now = time.time()
    for letter in found:
        why = letter.message.partition("\n")[0][:100]
        table.add_row(
            letter.place, display.ago(now - letter.time), letter.reason, letter.tenant or "", letter.origin, why
        )
    display.console().print(table)


@dlq.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="As `dlq list` names it.")], as_json: AsJson = False
) -> None:
    """Show a dead letter: why it is here, its headers and its bytes."""
    from latentline.output import to_json

    (letter,) = chosen([place])
    about = head_of(letter) | {"headers": texts(letter), "value": text_of(letter.value)}
    if as_json:
        echo(to_json(about))
        return
    for name, value in about.items():
        if name not in ("headers", "value") and value is not None:
            echo(f"{name:<16} {indented(str(value))}")
    for name, text in texts(letter).items():
        echo(printable(f"  {name}: {text}"))
    echo(f"\n{text_of(letter.value)}")


@dlq.command()
def redrive(
    places: Places = None, reason: Reason = None, tenant: Tenant = None, since: Since = None, until: Until = None,
    everything: Everything = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
) -> None:  # fmt: skip
    """Send dead letters into the line again.

    Each becomes a new event that names the letter; a job that was given up becomes a new job of the same recipe.
    A letter that is redriven twice is one job.
    """
    from operations.dead_letters.redrive import send

    records, refused = split(meant(places, everything, filter_of(reason, tenant, since, until)))
    for why in refused:
        echo(printable(why), err=True)
    if not dry_run:
        send(line.settings(), records)
    for record in records:
        reason_given = printable(record.letter.reason)
        echo(f"{record.letter.place}  {reason_given}  {'would be' if dry_run else 'is'} {record.id}")
    if refused:
        raise CommandFailed(f"{len(refused)} of {len(refused) + len(records)} letters cannot be redriven")


@dlq.command()
def drop(
    places: Places = None, reason: Reason = None, tenant: Tenant = None, since: Since = None, until: Until = None,
    everything: Everything = False,
    why: Annotated[str, typer.Option(help="For whoever looks at them later.")] = "dropped by hand",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be dropped.")] = False,
) -> None:  # fmt: skip
    """Take dead letters off the list: nothing more is to be done about them.

    They stay in `dlq` until retention removes them, as evidence: `dlq list --dropped` shows them, and `dlq redrive`
    takes them by their places.
    """
    from operations.dead_letters.drop import drop as write

    found = meant(places, everything, filter_of(reason, tenant, since, until))
    if found and not dry_run:
        write(line.settings(), [letter.place for letter in found], why)
    for letter in found:
        echo(f"{letter.place}  {printable(letter.reason)}  {'would be' if dry_run else 'is'} dropped")


def meant(places: list[str] | None, everything: bool, filtered: Filter) -> list[DeadLetterRecord]:
    """Letters by name or by filter: one of the two, and never all of them by accident."""
    from operations.dead_letters.records import dead_letters

    if bool(places) == (everything or filtered != filter_of()):
        raise typer.BadParameter("name letters, or choose them by --reason, --tenant, --since, --until or --all")
    return chosen(places) if places else list(dead_letters(line.settings(), filtered))


def split(found: list[DeadLetterRecord]) -> tuple[list[Redriven], list[str]]:
    """The new events, and why there is none of the others."""
    from operations.dead_letters.redrive import NotRedrivable, redriven

    records, refused = [], []
    for letter in found:
        try:
            records.append(redriven(letter))
        except NotRedrivable as error:
            refused.append(str(error))
    return records, refused


def chosen(places: list[str]) -> list[DeadLetterRecord]:
    """Also those that were dropped. Raises `CommandFailed` for a place where there is no letter."""
    from operations.dead_letters.records import Filter, dead_letters

    found = {letter.place: letter for letter in dead_letters(line.settings(), Filter(dropped=None))}
    for place in places:
        if place not in found:
            raise CommandFailed(f"no dead letter {place}: `latentline dlq list` lists them")
    return [found[place] for place in places]


def filter_of(
    reason: str | None = None, tenant: str | None = None, since: str | None = None, until: str | None = None,
    dropped: bool = False,
) -> Filter:  # fmt: skip
    from operations.dead_letters.records import Filter

    now = time.time()
    return Filter(reason, tenant, moment(since, now), moment(until, now), dropped)


def indented(text: str) -> str:
    """Lines after the first stand where none of this command's own do."""
    return text.replace("\n", "\n" + " " * 17)


def head_of(letter: DeadLetterRecord) -> dict[str, object]:
    job = letter.job
    return {
        "place": letter.place,
        "reason": letter.reason,
        "message": letter.message,
        "origin": letter.origin,
        "time": datetime.fromtimestamp(letter.time, UTC).isoformat(timespec="milliseconds"),
        "tenant": letter.tenant,
        "job": job.job if job else None,
        "truncated_from": letter.truncated_from,
        "dropped": letter.dropped,
    }


def texts(letter: DeadLetterRecord) -> dict[str, str | None]:
    return {name: text_of(text) for name, text in letter.headers}


def text_of(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")
