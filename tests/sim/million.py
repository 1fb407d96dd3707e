"""A cell at its full size, in virtual time: `python -m tests.sim.million --workers 10000 --jobs 1000000 --seed 1`.

The promises are checked as it goes. What nobody will read again is let go, as retention does on a real line: stubs
after 100 s, prompts earlier. Workers send a heartbeat when something about them changes and else every 9 s, not
3 s, and everything that counts their silence is stretched alike. One record in ten goes through its bytes, as each
does in every other scenario. A run that passes writes its table into
docs/reliability.md. Last line: the figures as JSON.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from tests.bench.report import RELIABILITY, last_line, table, write_section
from tests.sim.scenario import Size, draw
from tests.sim.simulator import POLICY, World

TITLE = "A cell of full size, in virtual time"
BEAT_SECONDS = 9.0
JOBS_A_WORKER_SECOND = 0.11
"""A little less than a worker does: 14 steps of half a second and four hand-overs."""
FAULTS_A_WORKER = 0.4
SHOWN_EVERY = 30.0
"""Virtual seconds."""
CHECK_EVERY = 10_000
"""Commits between two comparisons of the whole ledger with the log; each record is checked as it is written."""

BYTES_EVERY = 10
"""Of so many records one is encoded, decoded and validated; the others are read as they were said."""

# Stubs stay for longer than anything is done to a job after it has come, also where the clock is set forward.
FULL_POLICY = replace(
    POLICY, lost_after=24, unread_after=15, hold_after_gap=int(BEAT_SECONDS) + 1, tombstone_seconds=100.0
)  # fmt: skip


def size_of(workers: int, jobs: int) -> Size:
    seconds = jobs / (workers * JOBS_A_WORKER_SECOND)
    return Size(
        workers, jobs, faults=int(workers * FAULTS_A_WORKER), workers_a_node=8, rare=12, harm=0.1, steps=8,
        arrival_seconds=seconds, faulty_seconds=seconds, beat_seconds=BEAT_SECONDS, readers_an_inbox=1,
    )  # fmt: skip


def full_world(seed: int, workers: int, jobs: int, bytes_every: int = BYTES_EVERY) -> World:
    scenario = replace(draw(seed, size_of(workers, jobs)), slots=1, latency=0.1)
    return World(scenario, FULL_POLICY, CHECK_EVERY, bytes_every)


def show(world: World, started: float) -> None:
    ended, asked = len(world.checker.ended), len(world.plans)
    seconds = time.monotonic() - started
    print(f"{seconds:7.0f} s  {ended:>9,} of {asked:,} jobs ended, {ended / seconds:,.0f} a second",
          file=sys.stderr, flush=True)  # fmt: skip
    world.loop.after(SHOWN_EVERY, partial(show, world, started))


def run(seed: int, workers: int, jobs: int) -> dict[str, object]:
    """Raises what the checks raise; the figures are of wall time."""
    world = full_world(seed, workers, jobs)
    started = time.monotonic()
    show(world, started)
    world.run()
    seconds = time.monotonic() - started
    ends = world.checker.ends()
    return {
        "seed": seed, "workers": workers, "jobs": jobs, "ends": ends, "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time(), 1), "jobs_per_s": round(jobs / seconds),
        "transitions_per_s": round(world.checker.versions / seconds),
        "virtual_s": round(world.loop.now - world.over_at + world.scenario.faulty_seconds),
        "leases": world.checker.highest_lease, "faults": faults_by_kind(world), "promises_kept": True,
    }  # fmt: skip


def faults_by_kind(world: World) -> dict[str, int]:
    return dict(Counter(type(fault).__name__ for fault in world.scenario.faults).most_common())


def page(figures: dict[str, Any]) -> str:
    """What a reader wants to know of a run that has kept every promise."""
    counts = {name: figures[name] for name in ("ends", "faults")}
    listed = {name: ", ".join(f"{n:,} {what}" for what, n in found.items()) for name, found in counts.items()}
    rows = [
        ("seed", figures["seed"]),
        ("workers", f"{figures['workers']:,}"),
        ("jobs", f"{figures['jobs']:,}"),
        ("how they ended", listed["ends"]),
        ("leases", f"{figures['leases']:,}"),
        ("faults", listed["faults"]),
        ("virtual time", f"{figures['virtual_s']:,} s"),
        ("wall time; CPU time of its one core", f"{figures['seconds']:,} s; {figures['cpu_seconds']:,} s"),
        ("jobs a second of wall time", f"{figures['jobs_per_s']:,}"),
        ("jobs lost, completions doubled, other broken promises", 0),
    ]
    return table(("what", "figure"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--no-page", action="store_true", help="leave docs/reliability.md alone")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", file=sys.stderr)
    # What the simulator holds is large and, but for machines that died, has no cycles: walking it finds nothing.
    gc.disable()
    figures = run(asked.seed, asked.workers, asked.jobs)
    body = page(figures)
    if not asked.no_page:
        write_section(TITLE, f"make sim-million SEED={asked.seed}", body, page=RELIABILITY)
    print(body)
    print(last_line(figures))


if __name__ == "__main__":
    main()
