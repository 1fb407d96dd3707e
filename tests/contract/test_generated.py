"""The committed contract is as the code says; the AsyncAPI document and the pages hold together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from infra.contract import generate
from infra.contract.clients_page import TABLES, shown
from infra.contract.generate import FOLDER, PROJECT
from infra.contract.settings_page import page
from runtime.settings import Settings
from schemas import envelope
from schemas.envelope import HEADERS, MODELS
from schemas.events.prompts import PromptSubmitted
from streams.kafka.topics import TOPICS
from tests.contract import golden

DOCUMENT: dict[str, Any] = yaml.safe_load((PROJECT / FOLDER / "asyncapi.yaml").read_bytes())
CLIENTS_PAGE = (PROJECT / "docs/kafka-clients.md").read_text()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / FOLDER).mkdir(parents=True)
    assert generate.main([], tmp_path) == 0
    return tmp_path


def test_the_committed_files_are_as_generated() -> None:
    assert generate.stale() == {}
    assert {path.name for path in (PROJECT / FOLDER).iterdir()} == {
        path.name for path in generate.files() if path.parent == FOLDER
    }


def test_a_stale_file_is_named_with_the_command(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"], written) == 0
    capsys.readouterr()
    (written / "docs/errors.md").write_text("# edited by hand\n")
    (written / "docs/topics.md").unlink()
    assert generate.main(["--check"], written) == 1
    told = capsys.readouterr().out.splitlines()
    assert told == [
        f"{path} differs: run `python -m infra.contract.generate`" for path in ("docs/topics.md", "docs/errors.md")
    ]
    assert generate.main([], written) == 0
    assert generate.stale(written) == {}


def test_an_incompatible_schema_is_not_written_over(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = FOLDER / f"{envelope.type_of(PromptSubmitted)}.json"
    old = orjson.loads((written / path).read_bytes())
    old["properties"]["fps"] = {"type": "string"}
    (written / path).write_bytes(orjson.dumps(old))
    for arguments in (["--check"], []):
        capsys.readouterr()
        assert generate.main(arguments, written) == 1
        assert f"{path} may not change like this: new readers refuse old events" in capsys.readouterr().out
        assert orjson.loads((written / path).read_bytes()) == old


# -- asyncapi.yaml -----------------------------------------------------------------------------------------------


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if "$ref" in node else []
        return found + [reference for value in node.values() for reference in references(value)]
    return [reference for item in node for reference in references(item)] if isinstance(node, list) else []


@pytest.mark.parametrize("reference", sorted(set(references(DOCUMENT))))
def test_references_lead_somewhere(reference: str) -> None:
    if reference.startswith("./"):
        assert orjson.loads((PROJECT / FOLDER / reference).read_bytes())["type"] == "object"
        return
    node = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    assert node


def test_channels_are_the_topics() -> None:
    bindings = {name: channel["bindings"]["kafka"] for name, channel in DOCUMENT["channels"].items()}
    assert list(bindings) == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        written = bindings[topic.name]["topicConfiguration"]
        texts = {name: value[0] if isinstance(value, list) else str(value) for name, value in written.items()}
        assert texts == topic.config()
        assert bindings[topic.name]["partitions"] == topic.partitions


def test_others_may_send_prompts_and_receive_the_rest() -> None:
    actions = {name: operation["action"] for name, operation in DOCUMENT["operations"].items()}
    assert actions == {"receive_prompts": "receive", "send_completions": "send", "send_usage": "send"}


def test_every_message_names_its_type_and_its_headers() -> None:
    messages = DOCUMENT["components"]["messages"]
    assert set(messages) == set(MODELS)
    for name, message in messages.items():
        assert message["headers"]["allOf"][1]["properties"]["ce_type"]["const"] == name
        assert message["summary"]


def test_records_carry_the_headers_that_the_contract_lists() -> None:
    event = PromptSubmitted(prompt="x")
    _, most = golden.record(event)
    _, least = envelope.write(event, id="1", source="test", time=0.0)
    assert [name for name, _ in most] == [header.name for header in HEADERS]
    assert [name for name, _ in least] == [header.name for header in HEADERS if header.required]
    assert all(dict(most)[header.name] == header.value.encode() for header in HEADERS if header.value)


# -- pages -------------------------------------------------------------------------------------------------------


def test_the_page_of_settings_has_every_variable_and_nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTLINE_STORE_SECRET_KEY", "hunter2")
    monkeypatch.setenv("LATENTLINE_CELLS", "77")
    text = page()
    assert text == (PROJECT / "docs/settings.md").read_text()
    assert all(f"| `LATENTLINE_{name.upper()}` |" in text for name in Settings.model_fields)
    (line,) = [line for line in text.splitlines() if "SECRET_KEY" in line]
    assert "| secret | secret, never shown |" in line


@pytest.mark.parametrize("name", TABLES)
def test_the_page_of_clients_has_every_setting_with_its_reason(name: str) -> None:
    """In the role's own section, or in one that it says it is on top of."""
    sections = dict(part.split("\n", 1) for part in CLIENTS_PAGE.split("\n## ")[1:])
    title: str | None = name.capitalize()
    text = ""
    while title:
        (heading,) = [heading for heading in sections if heading.partition(",")[0] == title]
        text += sections[heading]
        title = heading.partition(", on top of ")[2].capitalize()
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(lines) == len(TABLES[name])
    for setting, (value, reason) in TABLES[name].items():
        assert f"| `{setting}` | `{shown(value)}` | {reason} |" in lines
