"""Durations, ages and leases run on monotonic time: the wall clock is read where a time for people is written."""

from __future__ import annotations

import ast
from pathlib import Path

from streams.worker.loop import session

WALL = {
    "stages/storage/object_store.py": "when an object was written, for the audit",
    "operations/audit/run.py": "the age of orphans",
    "operations/diagnosis.py": "ages that a doctor and an audit tell people, against the broker's own times",
    "operations/dead_letters/drop.py": "time of an event",
    "streams/client/follow.py": "how far to look back in a topic",
    "operations/dead_letters/redrive.py": "time of an event",
    "streams/client/submit.py": "time of an event",
    "operations/tenants.py": "when a key was made or revoked",
    "operations/workers.py": "time of an event",
    "streams/coordinator/service/cell.py": "times in job states and events; `retry.is_due` bears a jump",
    "streams/coordinator/service/observe.py": "age of the oldest job, a gauge",
    "gateway/api/create.py": "times of a state that is still expected; which calls may be retries",
    "gateway/api/webhook_endpoints.py": "when an endpoint was made or changed; how long its old secret signs",
    "gateway/read_model/projector.py": "how old a view is; after a jump it is built again",
    "gateway/intake.py": "time of an event",
    "gateway/rate_limits.py": "`limits` counts by it: set back, only a tenant at its rate waits longer",
    "gateway/api/videos.py": "which jobs were created a moment ago",
    "gateway/read_model/missing_jobs.py": "since when a create is waited for, from the time at which it was accepted",
    "gateway/read_model/read_model.py": "what has expired; a jump hides a video early, and shows it again",
    "gateway/read_model/rows.py": "as above",
    "operations/janitor/backfill.py": "when the catalogue was filled",
    "operations/janitor/janitor.py": "when searches, gc and expiry are due; a jump makes some early or late",
    "operations/janitor/outbox.py": "time of an event",
    "webhooks/delivery/journal.py": "time of an event; where the starts of jobs begin to count",
    "webhooks/delivery/progress_source.py": "how far to look back in topics",
    "webhooks/delivery/payload.py": "the time that a webhook tells",
    "webhooks/delivery/service.py": "when attempts are due, over days and restarts; a jump makes some early or late",
    "operations/gc/collector.py": "the age of what is freed, against the store's own times; a day of grace",
    "streams/usage/app.py": "windows of usage",
    "streams/worker/loop/reporter.py": "time of an event",
    "streams/worker/loop/worker.py": "when a life began: `life.began` never goes back",
}
FOLDERS = ("runtime", "stages", "streams", "webhooks", "operations", "gateway")


def reads_wall_clock(path: Path) -> bool:
    used = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    return any(node.attr in ("timestamp", "utcnow") or ast.unparse(node) == "time.time" for node in used)


def test_the_wall_clock_is_read_where_it_is_known_to_do_no_harm() -> None:
    files = [path for folder in FOLDERS for path in Path(folder).rglob("*.py")]
    assert {str(path) for path in files if reads_wall_clock(path)} <= WALL.keys()


def test_a_later_life_of_a_worker_is_the_later_one_though_the_clock_was_set_back(tmp_path: Path) -> None:
    file = tmp_path / "lives" / "w"
    first = session.began(file, 7200.0)
    assert first == 7200.0
    second = session.began(file, 3600.0)
    assert first < second < first + 1
    assert session.began(file, 10_000.0) == 10_000.0


def test_a_life_whose_file_cannot_be_read_or_written_begins_now(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("torn")
    assert session.began(tmp_path / "w", 5.0) == 5.0
    assert session.began(tmp_path / "w" / "no" / "folder", 6.0) == 6.0
