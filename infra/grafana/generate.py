"""Write what operators see from the metric catalogue: `python -m infra.grafana.generate [--check]`.

Fails when a panel asks for a metric, label or value that the catalogue does not have. With `--check` nothing is
written; the exit code is 1 when a committed file differs from what would be.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from infra.grafana.overview import OVERVIEW
from infra.prometheus.catalogue import markdown

PROJECT = Path(__file__).resolve().parents[2]


def files() -> dict[Path, bytes]:
    """Path in the project to content. Raises `InvalidQuery`."""
    dashboard = orjson.dumps(OVERVIEW.to_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return {Path("infra/grafana/overview.json"): dashboard, Path("docs/metrics.md"): markdown().encode()}


def stale(project: Path = PROJECT) -> list[Path]:
    """The files that are not as they would be generated."""
    return [path for path, content in files().items() if not _is(project / path, content)]


def _is(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    differing = stale()
    for path in differing:
        if not check:
            (PROJECT / path).write_bytes(files()[path])
        print(f"{path} {'differs: run `python -m infra.grafana.generate`' if check else 'written'}")
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
