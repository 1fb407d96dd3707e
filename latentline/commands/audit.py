"""`latentline audit`: whether everything that was promised holds."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from latentline import line
from latentline.terminal import echo
from latentline.time_arguments import moment

if TYPE_CHECKING:
    from operations.audit.report import Report

DEFAULT_GRACE_DAYS = 2.0


def audit(
    digests: Annotated[
        bool, typer.Option("--digests/--no-digests", help="Read every object and compare its digest.")
    ] = True,
    grace_days: Annotated[
        float, typer.Option(min=0, help="How long what nothing names may lie in the store.")
    ] = DEFAULT_GRACE_DAYS,
    keep: Annotated[
        str | None, typer.Option(metavar="AGE|TIME", help="As `latentline gc` was given it, if it was.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False,
) -> None:
    """Check the line's promises against its log and its store.

    Reads all of both; the line may work on meanwhile. The exit code is 1 if any promise is broken.
    """
    from latentline.audit_report import print_report
    from latentline.output import to_json
    from operations.audit.run import audit as check

    settings = line.settings()
    ended_after = moment(keep, time.time()) or 0.0
    report = check(settings, line.store(settings), digests, grace_days * 24 * 3600, tell, ended_after)
    if as_json:
        echo(to_json(as_values(report)))
    else:
        print_report(report)
    if not report.is_ok:
        raise typer.Exit(1)


def tell(what: str) -> None:
    if sys.stderr.isatty():
        echo(f"{what} ...", err=True)


def as_values(report: Report) -> dict[str, object]:
    return {
        "ok": report.is_ok,
        "checked": report.checked,
        "open_jobs": report.open_jobs,
        "useful_seconds": report.compute.useful,
        "wasted_seconds": report.compute.wasted,
        "breaches": [
            {"promise": violation.promise, "subject": violation.subject, "message": violation.message}
            for violation in report.violations
        ],
        "notices": list(report.notices),
    }
