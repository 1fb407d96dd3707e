"""Write the contract and its pages: `python -m infra.contract.generate [--check]`.

With `--check` nothing is written; the exit code is 1 when a committed file differs from what would be. A schema that
old readers or writers could not live with is never written over the committed one: such a change is a new event type
(`...v2`), which is published beside the old one for a while.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from infra.contract import api_page, asyncapi, clients_page, errors_page, settings_page, topics_page
from infra.contract.compatibility import incompatibilities
from infra.contract.json_schema import reader_schema
from schemas.envelope import MODELS

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = Path("docs/contract")
COMMAND = "python -m infra.contract.generate"


def files() -> dict[Path, bytes]:
    """Path in the project to content."""
    return schema_files() | {
        FOLDER / "asyncapi.yaml": asyncapi.document(),
        FOLDER / "openapi.json": pretty(api_page.document()),
        Path("docs/api.md"): api_page.page().encode(),
        Path("docs/topics.md"): topics_page.page().encode(),
        Path("docs/settings.md"): settings_page.page().encode(),
        Path("docs/errors.md"): errors_page.page().encode(),
        Path("docs/kafka-clients.md"): clients_page.page().encode(),
    }


def schema_files() -> dict[Path, bytes]:
    return {FOLDER / f"{name}.json": pretty(reader_schema(model)) for name, model in MODELS.items()}


def pretty(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def stale(project: Path = PROJECT) -> dict[Path, bytes]:
    """The files that are not as they would be generated, and what they would be."""
    return {path: content for path, content in files().items() if not _is(project / path, content)}


def _is(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


def refused(project: Path = PROJECT) -> dict[Path, list[str]]:
    """The schemas that may not replace their committed version, and why."""
    problems = {
        path: incompatibilities(orjson.loads((project / path).read_bytes()), orjson.loads(content))
        for path, content in schema_files().items()
        if (project / path).exists() and not _is(project / path, content)
    }
    return {path: why for path, why in problems.items() if why}


def main(arguments: list[str], project: Path = PROJECT) -> int:
    check = "--check" in arguments
    kept = refused(project)
    differing = {path: content for path, content in stale(project).items() if path not in kept}
    for path, why in kept.items():
        print(f"{path} may not change like this: {' and '.join(why)}; give the event a new type (v2) instead")
    for path, content in differing.items():
        if not check:
            (project / path).write_bytes(content)
        print(f"{path} {f'differs: run `{COMMAND}`' if check else 'written'}")
    return int(bool(kept) or (check and bool(differing)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
