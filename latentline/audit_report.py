"""The report of an audit for a person: what was looked at, what it cost to compute, each breach in a line."""

from __future__ import annotations

from rich.console import Console

from latentline import display
from operations.audit.report import Report
from schemas.printable import printable


def print_report(report: Report) -> None:
    console = display.console()
    table = display.columns("checked", "count", numbers=["count"])
    for what, count in report.checked.items():
        table.add_row(what, str(count))
    table.add_row("jobs under way", str(report.open_jobs))
    console.print(table)
    print_compute(console, report)
    for violation in report.violations:
        console.print(printable(f"BREACH  {violation}"), style="red")
    for notice in report.notices:
        console.print(printable(f"NOTICE  {notice}"), style="yellow")
    found = len(report.violations)
    console.print(f"{found} breach(es)" if found else "every promise holds", style="red" if found else "green")


def print_compute(console: Console, report: Report) -> None:
    compute = report.compute
    if not compute.useful and not compute.wasted:
        return
    table = display.columns("compute", "seconds", numbers=["seconds"])
    table.add_row("useful", f"{compute.useful:.1f}")
    for end, seconds in sorted(compute.wasted.items()):
        table.add_row(f"wasted: {end}", f"{seconds:.1f}")
    console.print(table)
