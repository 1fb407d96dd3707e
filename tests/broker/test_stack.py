"""The local stack on the real broker and store: up, down, wiped, killed, two side by side."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from minio import Minio

from infra.local import ports
from infra.local.access import BrokerAccess
from infra.local.class_cache import keep_classes
from infra.local.health import unready
from infra.local.kafka import Kafka
from infra.local.plan import Plan
from infra.local.reaper import mark_of
from infra.local.services import Service
from infra.local.stack import Stack, StackError
from infra.local.stack_discovery import is_keeper
from runtime.settings import Settings
from streams.kafka import clients
from streams.kafka.topics import PROMPTS
from tests.support import eventually

pytestmark = pytest.mark.broker


def test_what_setup_keeps_of_kafkas_classes_fits_this_java(tmp_path: Path) -> None:
    """Java is told to refuse what does not fit; a broker would start without it, and nobody would notice."""
    kept = keep_classes()
    argv = Kafka(tmp_path, tmp_path, tmp_path / "log", "mark", 1, 2, BrokerAccess()).process.argv
    assert f"-XX:AOTCache={kept}" in argv
    java, *options = argv[: argv.index("kafka.Kafka")]
    asked = [java, "-XX:AOTMode=on", *options, "kafka.tools.StorageTool", "random-uuid"]
    told = subprocess.run(asked, capture_output=True)
    assert (told.returncode, len(told.stdout.strip())) == (0, 22), told


def little(name: str) -> Service:
    return Service(name, (name,), module="tests.broker.little_service")


LITTLE = (little("little"), little("parent"))
Make = Callable[[str], Stack]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Stacks by name, all down and gone at the end. What they put into the temporary folder can be seen there."""
    folder = tmp_path_factory.mktemp("stacks")
    temporary = folder / "temporary"
    temporary.mkdir()
    made: list[Stack] = []

    def make(name: str) -> Stack:
        made.append(Stack(folder / name))
        return made[-1]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TMPDIR", str(temporary))
        yield make
        for stack in made:
            stack.down(wipe=True)
    assert processes_of(folder) == []
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def kept(make: Make) -> Stack:
    """One that runs with two services, for the tests that leave it running."""
    stack = make("kept")
    up(stack, LITTLE)
    return stack


def processes_of(data: Path) -> list[psutil.Process]:
    """Every living process whose command line or environment names the folder."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _names(process, data)]


def _names(process: psutil.Process, data: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        named = f"{data}/"
        own = (*process.cmdline(), process.environ().get("LATENTLINE_DATA_DIR", ""))
        return any(f"{value}/".startswith(named) or f" {named}" in value for value in own)
    except psutil.Error:
        return False


def command_lines(data: Path) -> set[str]:
    lines = set()
    for process in processes_of(data):
        with suppress(psutil.Error):
            lines.add(" ".join(process.cmdline()))
    return lines


def up(stack: Stack, services: tuple[Service, ...] = ()) -> None:
    stack.up(services, any_ports=True, stays=False, seconds=60)


def settings_of(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    return Settings()


def store_of(settings: Settings) -> Minio:
    return Minio(
        endpoint=settings.store_endpoint, access_key=settings.store_access_key,
        secret_key=settings.store_secret_key.get_secret_value(), secure=False,
    )  # fmt: skip


def produce(settings: Settings, value: bytes) -> None:
    producer = clients.producer(clients.PRODUCER, settings)
    producer.produce(PROMPTS.name, value, "acme")
    assert producer.flush(30) == 0


def prompts(settings: Settings) -> list[bytes | None]:
    reader = clients.consumer(clients.TOOL, settings)
    reader.assign([TopicPartition(PROMPTS.name, 0, OFFSET_BEGINNING)])
    values: list[bytes | None] = []
    while True:
        message = reader.poll(30)
        assert message is not None, "no end of `prompts`"
        if message.error() is not None:
            reader.close()
            return values
        values.append(message.value())


def test_up_down_up_keeps_data_and_ports_and_wipe_removes_them(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = make("data")
    up(stack, LITTLE)
    first = stack.status()
    up(stack, LITTLE)
    assert stack.status() == first, "a second `up` changed something"
    settings = settings_of(stack, monkeypatch)
    produce(settings, b"kept")
    assert Plan.load(stack.data).temporary.exists()
    store_of(settings).put_object(
        bucket_name=settings.store_bucket, object_name="artifacts/a", data=io.BytesIO(b"kept"), length=4
    )
    stack.down()
    assert stack.status()["state"] == "down"
    assert processes_of(stack.data) == []
    assert all(ports.is_free(port) for port in Plan.load(stack.data).ports.values())
    assert not Plan.load(stack.data).temporary.exists()
    assert not list(stack.data.glob("*.partial"))
    with pytest.raises(StackError, match="latentline up"):
        stack.environment()

    up(stack)
    assert stack.environment() == first["environment"]
    assert prompts(settings) == [b"kept"]
    answer = store_of(settings).get_object(bucket_name=settings.store_bucket, object_name="artifacts/a")
    assert answer.read() == b"kept"
    answer.close()
    stack.down(wipe=True)
    assert not stack.data.exists()
    stack.down(wipe=True)


def test_a_killed_keeper_takes_everything_with_it(make: Make) -> None:
    stack = make("killed")
    up(stack, LITTLE)
    keeper = stack.status()["keeper"]
    grandchild = f"sleep {Plan.load(stack.data).ports['parent'] + 600}"
    assert grandchild in command_lines(stack.data)
    (guard,) = (one for one in processes_of(stack.data) if "infra.local.reaper" in one.cmdline())
    guard.kill()
    eventually(lambda: not guard.is_running())
    eventually(lambda: any("infra.local.reaper" in line for line in command_lines(stack.data)))
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: processes_of(stack.data) == [])
    assert stack.status()["state"] == "down"


def killed_together(stack: Stack) -> set[str]:
    """Kills supervisor and guard before either can act; the command lines that are left."""
    guards = [one for one in processes_of(stack.data) if "infra.local.reaper" in one.cmdline()]
    # A stopped guard does not see its supervisor end.
    for guard in guards:
        guard.suspend()
    os.kill(stack.status()["keeper"], signal.SIGKILL)
    for guard in guards:
        guard.kill()
    eventually(lambda: stack.status()["state"] == "down")
    return command_lines(stack.data)


def test_down_ends_what_supervisor_and_guard_left_behind_when_they_died_together(make: Make) -> None:
    stack, below = make("orphaned"), make("orphaned/below")
    up(stack, LITTLE)
    up(below)
    others = command_lines(below.data)
    left = killed_together(stack) - others
    assert len(left) > len(LITTLE), left
    assert stack.down() >= len(left)
    assert command_lines(stack.data) == others, "a stack in a folder of its own was touched, or something is left"
    assert stack.down() == 0
    below.down(wipe=True)


def test_up_ends_what_an_earlier_life_left_and_goes_on(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, said = make("orphaned again"), list[str]()
    up(stack, LITTLE)
    settings = settings_of(stack, monkeypatch)
    produce(settings, b"kept")
    before = {process.pid for process in processes_of(stack.data)}
    assert killed_together(stack)
    (stack.data / "stack.json").write_text('{"keeper": 1, "pids"')
    stack.up(LITTLE, any_ports=True, stays=False, seconds=60, say=said.append)
    assert "earlier life" in said[0]
    assert not before & {process.pid for process in processes_of(stack.data)}
    assert prompts(settings) == [b"kept"]
    stack.down()


def test_a_full_disk_costs_the_status_alone_and_all_is_well_when_there_is_room(make: Make) -> None:
    stack = make("full")
    stack.data.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(stack.data)]
    if subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("only root may make a disk of its own")
    try:
        up(stack, LITTLE)
        before, filler = stack.status(), stack.data / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        os.kill(before["pids"]["little"], signal.SIGKILL)
        eventually(lambda: littles(stack) - {before["pids"]["little"]} or not is_keeper(before["keeper"], stack.data))
        assert is_keeper(before["keeper"], stack.data), "a full disk has ended the supervisor"
        assert stack.status() == before, "the disk was not full"
        filler.unlink()
        eventually(lambda: stack.status()["restarts"]["little"] == 1 and unready(before["health"]["little"]) is None)
        eventually(lambda: stack.status()["pids"].keys() == before["pids"].keys(), 60)
        eventually(lambda: ports.answers(Plan.load(stack.data).ports["kafka"]), 60)
    finally:
        stack.down()
        subprocess.run(["umount", "-l", str(stack.data)], check=True)


def littles(stack: Stack) -> set[int]:
    """Processes of the service `little`."""
    return {one.pid for one in processes_of(stack.data) if mark_of(one).endswith("/little/")}


@pytest.mark.parametrize("name", ["little", "kafka", "minio"])
def test_what_dies_is_started_again_at_its_port(kept: Stack, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    settings, before = settings_of(kept, monkeypatch), kept.status()
    os.kill(before["pids"][name], signal.SIGKILL)
    eventually(lambda: kept.status()["pids"].get(name, before["pids"][name]) != before["pids"][name])
    after = kept.status()
    assert (after["restarts"][name], after["last_exit"][name]) == (1, -signal.SIGKILL)
    assert (after["environment"], after["health"]) == (before["environment"], before["health"])
    eventually(lambda: unready(after["health"]["little"]) is None)
    eventually(lambda: ports.answers(Plan.load(kept.data).ports["minio"]))
    assert store_of(settings).bucket_exists(bucket_name=settings.store_bucket)
    produce(settings, name.encode())
    assert prompts(settings)[-1] == name.encode()


def test_a_service_that_leaves_on_purpose_stays_away(kept: Stack) -> None:
    os.kill(kept.status()["pids"]["parent"], signal.SIGTERM)
    eventually(lambda: kept.status()["last_exit"]["parent"] == 0)
    assert "parent" not in kept.status()["pids"]
    assert kept.status()["restarts"]["parent"] == 0
    grandchild = f"sleep {Plan.load(kept.data).ports['parent'] + 600}"
    assert grandchild not in command_lines(kept.data)


def test_up_tells_which_service_is_not_ready_and_why(make: Make) -> None:
    stack = make("unready")
    with pytest.raises(StackError, match="still starting"):
        stack.up((little("never"), little("fail")), any_ports=True, stays=False, seconds=0.1)
    eventually(lambda: stack.is_running and unready(stack.status()["health"]["never"]) == "resting", 60)
    with pytest.raises(StackError, match="never is not ready: resting"):
        stack.up(seconds=0.1)
    with pytest.raises(StackError, match="fail is not ready: it ended with exit code 3") as caught:
        stack.up(seconds=60)
    assert "nothing works today" in str(caught.value)
    assert str(stack.data / "logs" / "fail.log") in str(caught.value)


def test_a_failed_start_says_what_failed_and_leaves_nothing(make: Make) -> None:
    stack = make("failed")
    Plan.draw(stack.data, (), any_ports=True).save()
    (stack.data / "minio").write_text("a file where a folder must be")
    with pytest.raises(StackError, match=r"did not start: .*minio") as caught:
        up(stack)
    assert str(stack.data / "logs") in str(caught.value)
    assert processes_of(stack.data) == []


def test_a_folder_that_is_not_ours_is_neither_used_nor_removed(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    with pytest.raises(StackError, match="LATENTLINE_DATA_DIR"):
        up(Stack(tmp_path))
    with pytest.raises(StackError, match="nothing was removed"):
        Stack(tmp_path).down(wipe=True)
    assert list(tmp_path.iterdir()) == [thesis]


STARTER = """\
import sys
from pathlib import Path
from infra.local.stack import Stack
Stack(Path(sys.argv[1])).up((), stays=False, seconds=60)
print("up", flush=True)
sys.stdin.read()
"""


def test_two_start_side_by_side_and_one_ends_with_its_starter(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = make("one"), make("two")
    argv = [sys.executable, "-c", STARTER, str(two.data)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        one.up((), stays=False, seconds=60)
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        assert not set(Plan.load(one.data).ports.values()) & set(Plan.load(two.data).ports.values())
        for number, stack in enumerate((one, two)):
            produce(settings_of(stack, monkeypatch), f"{number}".encode())
        starter.kill()
    eventually(lambda: processes_of(two.data) == [])
    assert two.status()["state"] == "down"
    assert prompts(settings_of(one, monkeypatch)) == [b"0"]
