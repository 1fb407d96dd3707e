"""What the store holds, and freeing what nobody needs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from latentline import line
from latentline.terminal import echo
from latentline.time_arguments import moment

if TYPE_CHECKING:
    from operations.gc.plan import Unreferenced

store = typer.Typer(no_args_is_help=True, help="What the store holds.")

Keep = Annotated[str | None, typer.Option(
    metavar="AGE|TIME", help="Jobs that ended before that hold nothing: 2d, 12h, ISO 8601. Unset: all known hold."
)]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


@store.command()
def usage(keep: Keep = None, as_json: AsJson = False) -> None:
    """Tell objects and bytes by tenant, stage and kind.

    Orphans are what no job holds, or no manifest names: `latentline gc` frees them once they are old enough.
    """
    from latentline import display
    from latentline.output import to_json
    from operations.gc.plan import usage as sums
    from operations.gc.snapshot import see

    settings, now = line.settings(), time.time()
    seen = see(settings, line.store(settings), ended_before=moment(keep, now) or 0.0, now=now)
    rows = sums(seen.listing, seen.references)
    if as_json:
        for (tenant, stage, kind), used in rows.items():
            echo(to_json({
                "tenant": tenant, "stage": stage, "kind": str(kind), "objects": used.objects, "bytes": used.size
            }))  # fmt: skip
        return
    table = display.columns("tenant", "stage", "kind", "objects", "size", numbers=["objects", "size"])
    for (tenant, stage, kind), used in rows.items():
        table.add_row(tenant, stage, str(kind), str(used.objects), display.size_text(used.size))
    table.add_row(
        "", "", "", str(sum(used.objects for used in rows.values())),
        display.size_text(sum(used.size for used in rows.values())),
    )  # fmt: skip
    display.console().print(table)


def gc(
    apply: Annotated[bool, typer.Option("--apply", help="Free it; else only say what would be.")] = False,
    keep: Keep = None,
    grace: Annotated[str, typer.Option(metavar="AGE", help="What was written since stays.")] = "1d",
    as_json: AsJson = False,
) -> None:
    """Free what nobody refers to, and no manifest names.

    That is: intermediates, checkpoints, what uploads left behind, what deleted jobs and expired videos left. The
    janitor does the same each hour. A job
    refers to its intermediates while it is under way and, after its end, for as long as the line knows it (8 days) or
    --keep says; the catalogue to every video that is kept. Without --apply nothing is touched.
    """
    from latentline.output import to_json
    from operations.gc.collector import collect

    settings, now = line.settings(), time.time()
    oldest = moment(grace, now) or now
    found = collect(
        settings, line.store(settings), apply=apply, ended_before=moment(keep, now) or 0.0, grace=now - oldest, now=now
    )
    if as_json:
        for each in found:
            echo(to_json(as_values(each, apply)))
    else:
        print_unreferenced(found, apply)


def as_values(each: Unreferenced, freed: bool) -> dict[str, object]:
    return {
        "folder": each.place.folder, "tenant": each.place.tenant, "stage": each.place.stage, "why": each.why,
        "objects": len(each.keys), "bytes": each.size, "freed": freed,
    }  # fmt: skip


def print_unreferenced(found: tuple[Unreferenced, ...], freed: bool) -> None:
    from latentline import display

    console = display.console()
    table = display.columns("key", "why", "objects", "size", numbers=["objects", "size"])
    for each in found:
        table.add_row(each.place.folder, each.why, str(len(each.keys)), display.size_text(each.size))
    if found:
        console.print(table)
    objects, size = sum(len(each.keys) for each in found), display.size_text(sum(each.size for each in found))
    console.print(f"{objects} objects, {size} {'freed' if freed else 'could be freed: --apply does it'}")
