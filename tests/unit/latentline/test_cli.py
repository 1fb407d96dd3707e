"""The command line: what it accepts, what it answers, and what it loads."""

from __future__ import annotations

import codecs
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from infra.local.plan import PROJECT
from latentline.commands import services
from latentline.commands.demo import slug
from latentline.commands.drain import no_such
from latentline.commands.stack import worker_counts
from latentline.failures import CommandFailed, line_of
from latentline.job_lookup import find_job
from latentline.main import app
from latentline.prompts import cache_of, metadata_of, prompt_of, read_prompts
from latentline.vocabulary import warn
from runtime.settings import Settings
from schemas.errors import StoreUnavailable
from schemas.events.prompts import PromptSubmitted
from schemas.job import JobState
from schemas.recipe import FeatureCache
from schemas.stage import Stage
from tests.unit.streams.usage.test_reducers import waiting

COMMANDS = (
    "up", "down", "doctor", "submit", "watch", "jobs", "show", "cancel", "download", "replay", "audit", "gc", "drain",
    "demo", "worker", "coordinator", "views", "gateway", "notifier", "janitor", "topics", "dlq", "store", "keys",
    "tenants",
)  # fmt: skip
TORCH, FAUST = {"torch", "diffusers", "transformers"}, {"faust", "mode"}
HEAVY = TORCH | FAUST | {"av", "numpy"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line runs here and no variable names one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LATENTLINE_DATA_DIR", raising=False)
    monkeypatch.delenv("LATENTLINE_KAFKA_BOOTSTRAP", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def loaded_by(code: str) -> set[str]:
    """The heavy modules that a fresh process has loaded after `code`."""
    script = f"import sys\n{code}\nprint(*(name for name in {sorted(HEAVY)} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def invoked(*arguments: str) -> str:
    return f"from typer.testing import CliRunner\nfrom latentline.main import app\nCliRunner().invoke(app, {arguments})"


# -- usage -----------------------------------------------------------------------------------------------------


def test_help_lists_every_command_in_one_line_each() -> None:
    said = run("--help")
    assert said.exit_code == 0
    lines = said.output.partition("Commands:")[2].strip().splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert [line for line in lines if line.endswith("...")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    assert run(command, "--help").exit_code == 0


def test_submit_has_an_option_for_every_field_of_a_prompt() -> None:
    said = run("submit", "--help").output
    options = {name: f"--{name.replace('_', '-')}" for name in PromptSubmitted.model_fields if name != "prompt"}
    assert [name for name, option in options.items() if option not in said] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command"),
        (("submit",), "PROMPT or --file"),
        (("submit", "a circle", "--file", "prompts.jsonl"), "PROMPT or --file"),
        (("submit", "a circle", "--priority", "101"), "priority: Input should be less than or equal to 100"),
        (("submit", "a circle", "--seed", "many"), "--seed"),
        (("submit", "a circle", "--metadata", "colour"), "NAME=VALUE"),
        (("submit", "a circle", "--runs", "denoise"), "STAGE=NUMBER"),
        (("submit", "a circle", "--runs", "denoise=0"), "runs.denoise: Input should be greater than or equal to 1"),
        (("replay", "video_1"), "--from"),
        (("submit", "--file", "missing.jsonl"), "missing.jsonl: No such file"),
        (("worker", "encode,paint"), "'paint' is no stage: encode, denoise, decode, mux"),
        (("worker", "encode,encode"), "twice"),
        (("up", "--workers", "denoise"), "denoise=2"),
        (("jobs", "--status", "sleeping"), "--status"),
        (("show",), "JOB"),
    ],
)
def test_wrong_usage_is_named_and_exits_with_2(arguments: tuple[str, ...], said: str) -> None:
    answer = run(*arguments)
    assert answer.exit_code == 2
    assert said in answer.output
    assert "Traceback" not in answer.output


@pytest.mark.parametrize(
    "arguments",
    [("jobs",), ("show", "video_1"), ("submit", "a circle"), ("cancel", "video_1"), ("download", "video_1"),
     ("drain", "denoise"), ("watch",), ("replay", "1", "--from", "mux"), ("gc",), ("store", "usage"),
     ("dlq", "drop", "--all"), ("coordinator",), ("views",), ("gateway",), ("notifier",), ("janitor",),
      ("keys", "list"),
     ("tenants", "rotate-secret", "acme"),
     ("topics", "check"), ("topics", "apply")],
)  # fmt: skip
def test_without_a_line_every_command_says_how_to_start_one(arguments: tuple[str, ...]) -> None:
    answer = run(*arguments)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == "error: no line is running in .latentline: start one with `latentline up`\n"


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTLINE_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("LATENTLINE_SLOTS", "0")
    answer = run("jobs")
    assert answer.exit_code == 2
    assert answer.stderr == "error: LATENTLINE_SLOTS: Input should be greater than or equal to 1\n"


def test_what_nobody_expected_is_one_line_that_says_how_to_see_more() -> None:
    assert line_of(ZeroDivisionError("division by zero")) == (
        "unexpected ZeroDivisionError: division by zero. `latentline --debug ...` shows where it came from"
    )


def test_a_store_that_is_away_is_named() -> None:
    assert line_of(StoreUnavailable("read timed out")) == (
        "the store does not answer: read timed out. `latentline doctor` tells more"
    )


def test_down_where_nothing_runs_does_nothing() -> None:
    answer = run("down")
    assert (answer.exit_code, answer.stdout) == (0, "nothing was running; data stays in .latentline\n")


# -- values ----------------------------------------------------------------------------------------------------


def test_a_file_is_one_prompt_a_line_and_options_fill_what_it_leaves_unset(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a circle", "seed": 3}\n\n{"prompt": "a square", "tenant": "other"}\n')
    assert read_prompts(file, {"tenant": "acme", "fps": 8, "seed": None}) == [
        PromptSubmitted(prompt="a circle", seed=3, tenant="acme", fps=8),
        PromptSubmitted(prompt="a square", tenant="other", fps=8),
    ]


def test_a_byte_order_mark_is_skipped_and_null_leaves_the_option(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(codecs.BOM_UTF8 + b'{"prompt": "a", "fps": null}\r\n{"prompt": "b", "seed": -1}\n')
    first, second = read_prompts(file, {"fps": 8})
    assert (first.prompt, first.fps) == ("a", 8)
    assert (second.prompt, second.seed) == ("b", None)


def test_half_of_a_character_on_the_command_line_is_refused_in_words() -> None:
    with pytest.raises(typer.BadParameter, match="prompt: it has half of a character"):
        prompt_of({"prompt": "half \udc80"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no prompts"),
        ('{"prompt": "a"}\n{"prompt":', "2: no JSON"),
        ('{"prompt": "a"}\n["a"]', "2: a prompt is a JSON object"),
        ('{"seed": 1}', "1: prompt: Field required"),
        ('{"prompt": "a", "colour": "red"}', "1: colour: Extra inputs are not permitted"),
    ],
)
def test_a_bad_line_is_named_before_anything_is_sent(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(text)
    with pytest.raises(typer.BadParameter, match=said):
        read_prompts(file)


def test_metadata_is_name_and_value() -> None:
    assert metadata_of(["order=7", "note=a=b"]) == {"order": "7", "note": "a=b"}
    assert metadata_of([]) is None


def test_a_cache_is_a_kind_and_its_settings() -> None:
    assert cache_of(None) is None
    assert cache_of("first_block_cache") == {"kind": "first_block_cache"}
    asked = cache_of("first_block_cache, threshold=0.1,cache_reset_every=5")
    assert prompt_of({"prompt": "x", "cache": asked}).cache == FeatureCache(threshold=0.1, cache_reset_every=5)
    with pytest.raises(typer.BadParameter, match=r"cache\.treshold"):
        prompt_of({"prompt": "x", "cache": cache_of("first_block_cache,treshold=0.1")})


def test_workers_are_counted_by_stages() -> None:
    assert worker_counts(["denoise=2", "decode, mux=1"]) == {"denoise": 2, "decode,mux": 1}
    assert services.stages_of("decode,mux") == (Stage.DECODE, Stage.MUX)


def test_the_prompts_of_the_examples_can_be_read_and_judged() -> None:
    from latentline.commands.demo import PROMPTS
    from tiny_model.captions import parse_caption

    prompts = read_prompts(PROMPTS)
    assert all(parse_caption(prompt.prompt) and prompt.seed is not None for prompt in prompts)
    assert len({orjson.dumps(prompt.model_dump()) for prompt in prompts}) == len(prompts)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red circle!", "a-red-circle"),
        ("a red circle moving right on a blue background", "a-red-circle-moving-right-on-a-blue"),
        ("x" * 50, "x" * 36),
        ("ein größeres Boot", "ein-gr-eres-boot"),
    ],
)
def test_files_are_named_by_whole_words_of_the_prompt(prompt: str, name: str) -> None:
    assert slug(prompt) == name


# -- jobs by how they begin ------------------------------------------------------------------------------------


def jobs_of(*ids: str) -> dict[str, JobState]:
    return {job: waiting(job, 1) for job in ids}


def test_a_job_is_found_by_how_its_id_begins() -> None:
    jobs = jobs_of("video_aab1", "video_aac2", "video_b3")
    assert find_job(jobs, "video_aac").job == "video_aac2"
    assert find_job(jobs, "b").job == "video_b3"
    with pytest.raises(CommandFailed, match="any of 2 jobs: video_aab1, video_aac2"):
        find_job(jobs, "aa")
    with pytest.raises(CommandFailed, match="no job c: `latentline jobs`"):
        find_job(jobs, "c")


def test_the_nearest_of_the_workers_are_told() -> None:
    names = ["decode", "denoise", "denoise-2", "encode", "mux"]
    assert no_such("denois", names) == ("no worker denois: the nearest of 5 that are heard: denoise, denoise-2, encode")
    assert no_such("denoise", []) == "no worker denoise: none is heard; `latentline doctor` tells more"


# -- what is loaded --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("--help",), ("jobs",), ("submit", "a circle"), ("watch",), ("down",)])
def test_a_command_for_people_loads_no_torch_and_no_faust(arguments: tuple[str, ...]) -> None:
    assert loaded_by(invoked(*arguments)) == set()


def test_the_coordinator_loads_no_torch_and_no_faust() -> None:
    assert loaded_by("import latentline.main, streams.coordinator.service") == set()


def test_the_views_load_no_torch_and_the_worker_no_faust() -> None:
    assert not loaded_by("import latentline.main, streams.usage.main") & TORCH
    assert not loaded_by("import latentline.main, streams.worker.main") & (FAUST | {"torch"})


def test_words_that_the_model_does_not_know_are_named_once_and_nothing_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    maroon = PromptSubmitted(prompt="a maroon circle")
    warn(Settings(bundles=str(PROJECT / "bundles" / "tiny")), [maroon, maroon, PromptSubmitted(prompt="a red circle")])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('warning: prompt: tiny does not know "maroon"')
    warn(Settings(bundles="no/such/folder"), [maroon])
    assert capsys.readouterr().err == ""
