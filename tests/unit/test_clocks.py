"""Durations, ages and leases run on monotonic time: the wall clock is read where a time for people is written."""

from __future__ import annotations

import ast
from pathlib import Path

from streams.worker import life

WALL = {
    "stages/object_store.py": "when an object was written, for the audit",
    "streams/audit/run.py": "the age of orphans",
    "streams/client/diagnosis.py": "ages that a doctor and an audit tell people, against the broker's own times",
    "streams/client/drop.py": "time of an event",
    "streams/client/follow.py": "how far to look back in a topic",
    "streams/client/redrive.py": "time of an event",
    "streams/client/submit.py": "time of an event",
    "streams/client/tenants.py": "when a key was made or revoked",
    "streams/client/workers.py": "time of an event",
    "streams/coordinator/service/cell.py": "times in job states and events; `retry.is_due` bears a jump",
    "streams/coordinator/service/observe.py": "age of the oldest job, a gauge",
    "streams/gateway/creating.py": "times of a state that is still expected; which calls may be retries",
    "streams/gateway/endpoints.py": "when an endpoint was made or changed; how long its old secret signs",
    "streams/gateway/feed.py": "how old a view is; after a jump it is built again",
    "streams/gateway/intake.py": "time of an event",
    "streams/gateway/rates.py": "`limits` counts by it: set back, only a tenant at its rate waits longer",
    "streams/gateway/routes.py": "which jobs were created a moment ago",
    "streams/gateway/missing_jobs.py": "since when a create is waited for, against the time at which it was accepted",
    "streams/gateway/read_model.py": "what has expired; a jump hides a video early, and shows it again",
    "streams/gateway/rows.py": "as above",
    "streams/janitor/backfill.py": "when the catalogue was filled",
    "streams/janitor/janitor.py": "when searches, gc and expiry are due; a jump makes some early or late",
    "streams/janitor/outbox.py": "time of an event",
    "streams/notifier/journal.py": "time of an event; where the starts of jobs begin to count",
    "streams/notifier/news.py": "how far to look back in topics",
    "streams/notifier/payload.py": "the time that a webhook tells",
    "streams/notifier/service.py": "when attempts are due, over days and restarts; a jump makes some early or late",
    "streams/upkeep/gc.py": "the age of what is freed, against the store's own times; a day of grace",
    "streams/views/app.py": "windows of usage",
    "streams/worker/reporter.py": "time of an event",
    "streams/worker/worker.py": "when a life began: `life.began` never goes back",
}


def reads_wall_clock(path: Path) -> bool:
    used = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    return any(node.attr in ("timestamp", "utcnow") or ast.unparse(node) == "time.time" for node in used)


def test_the_wall_clock_is_read_where_it_is_known_to_do_no_harm() -> None:
    files = [path for folder in ("stages", "streams") for path in Path(folder).rglob("*.py")]
    assert {str(path) for path in files if reads_wall_clock(path)} <= WALL.keys()


def test_a_later_life_of_a_worker_is_the_later_one_though_the_clock_was_set_back(tmp_path: Path) -> None:
    file = tmp_path / "lives" / "w"
    first = life.began(file, 7200.0)
    assert first == 7200.0
    second = life.began(file, 3600.0)
    assert first < second < first + 1
    assert life.began(file, 10_000.0) == 10_000.0


def test_a_life_whose_file_cannot_be_read_or_written_begins_now(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("torn")
    assert life.began(tmp_path / "w", 5.0) == 5.0
    assert life.began(tmp_path / "w" / "no" / "folder", 6.0) == 6.0
