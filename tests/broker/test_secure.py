"""A secure line on the real broker and store: whoever may do something does it, and every other act is refused."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import NewTopic, ScramCredentialInfo, UserScramCredentialUpsertion
from minio import Minio
from minio.error import S3Error
from pydantic import SecretStr

from infra.local import doctor, line_checks, topics
from infra.local.finding import Problem, Subject
from infra.local.plan import Plan, settings_in
from infra.local.services import services
from infra.local.stack import Stack, StackError
from infra.security import broker
from infra.security.access import Guarded
from infra.security.rights import Rights
from latentline import line as command_line
from schemas.events import JobCompleted, PromptSubmitted, UsageWindow
from schemas.job import JobStatus
from schemas.keys import job_id
from schemas.stage import STAGES
from streams import clients
from streams.audit.run import audit
from streams.client.letters import letters
from streams.client.snapshot import snapshot
from streams.client.submit import submit
from streams.settings import Settings
from streams.topics import COMPLETIONS, PROMPTS, TOPICS, USAGE
from tests.broker.workers import PlayedWorker
from tests.processes import tail
from tests.secrets import command_lines, leaks, records, secrets_of
from tests.support import eventually

pytestmark = pytest.mark.broker

NAMES = (
    "coordinator", "worker-encode", "worker-denoise", "worker-decode", "worker-mux", "views", "notifier",
    "upstream-acme",
    "downstream", "operator",
)  # fmt: skip
SERVED = tuple(service for service in services() if service.name in ("coordinator", "notifier"))
DENIED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
          KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)  # fmt: skip


@dataclass(frozen=True)
class Secure:
    """A secure line that runs, and everybody's view of it."""

    stack: Stack

    @property
    def plan(self) -> Plan:
        return Plan.load(self.stack.data)

    @property
    def access(self) -> Guarded:
        access = self.plan.access
        assert isinstance(access, Guarded)
        return access

    def of(self, name: str) -> Settings:
        """The settings of one principal."""
        return settings_in(self.plan.places() | self.access.client(name), Settings())

    def rights(self, name: str) -> Rights:
        return self.access.rights[name]

    @property
    def operator(self) -> Settings:
        return settings_in(self.stack.environment(), Settings())


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    stack = Stack(tmp_path_factory.mktemp("secure") / "data")
    stack.up(SERVED, any_ports=True, stays=False, tenants=("acme", "globex"))
    yield Secure(stack)
    stack.down(wipe=True)


# -- the broker ----------------------------------------------------------------------------------------------------


def refused_writes(settings: Settings, wanted: set[str]) -> set[str]:
    """Of those topics, the ones that take no record for want of rights."""
    producer, answers = clients.producer(clients.PROGRESS, settings, message_timeout_ms=10_000), dict[str, int]()

    def delivered(error: KafkaError | None, message: Message) -> None:
        answers[message.topic() or ""] = error.code() if error else 0

    for topic in wanted:
        producer.produce(topic, b"{}", "forbidden", on_delivery=delivered)
    assert producer.flush(30) == 0
    return {name for name, code in answers.items() if code in DENIED}


def read(settings: Settings) -> set[str]:
    """Topics whose first partition can be read."""
    reader = clients.consumer(clients.READER, settings)
    found = {topic.named() for topic in TOPICS if is_readable(reader, topic.named())}
    reader.close()
    return found


def is_readable(reader: Consumer, topic: str) -> bool:
    """Any answer but a record, the end, or a refusal for want of rights fails."""
    seen = reader.list_topics(topic, 20).topics[topic].error
    if seen is None:
        reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        (message,) = eventually(lambda: reader.consume(1, 1))
        seen = message.error()
    assert seen is None or seen.code() in (*DENIED, KafkaError._PARTITION_EOF)
    return seen is None or seen.code() not in DENIED


@pytest.mark.parametrize("name", NAMES)
def test_each_reads_what_the_table_says_and_no_other_topic(secure: Secure, name: str) -> None:
    assert read(secure.of(name)) == {topic.named() for topic in secure.rights(name).reads}


@pytest.mark.parametrize("name", NAMES)
def test_nobody_writes_to_a_topic_that_the_table_does_not_give(secure: Secure, name: str) -> None:
    forbidden = {topic.named() for topic in TOPICS} - {topic.named() for topic in secure.rights(name).writes}
    assert forbidden
    assert refused_writes(secure.of(name), forbidden) == forbidden


def refusal(future: Future[Any]) -> str:
    """The name of the error that a request of an administrator was answered with; nothing if it was done."""
    try:
        future.result(20)
    except KafkaException as error:
        return str(error.args[0].name())
    return ""


def test_nobody_else_fences_a_coordinator(secure: Secure) -> None:
    for name in ("worker-denoise", "views", "operator"):
        producer = clients.producer(clients.TRANSACTIONAL, secure.of(name), transactional_id="latentline.cell-0")
        with pytest.raises(KafkaException, match=r"(?i)authorization failed"):
            producer.init_transactions(10)


def test_nobody_else_joins_the_coordinators_group(secure: Secure) -> None:
    """The right to join is the one to move its offsets too."""
    for name in ("worker-denoise", "views", "downstream", "upstream-acme", "operator"):
        reader = clients.consumer(clients.READER, secure.of(name), group_id="latentline.coordinator")
        reader.subscribe([PROMPTS.named()])
        (message,) = eventually(partial(reader.consume, 1, 1))
        error = message.error()
        assert error is not None, name
        assert error.code() in DENIED, name
        reader.close()


def test_only_the_owner_makes_users_and_rights_and_nobody_a_topic_beyond_the_table(secure: Secure) -> None:
    user = UserScramCredentialUpsertion("friend", ScramCredentialInfo(broker.MECHANISM, broker.ITERATIONS), b"known")
    for name in NAMES:
        client = topics.admin(secure.of(name))
        asked = [
            *client.alter_user_scram_credentials([user], request_timeout=20).values(),
            *client.create_acls([*broker.bindings("", name, Rights(reads=TOPICS))], request_timeout=20).values(),
            *client.create_topics([NewTopic("anything", 1)], request_timeout=20).values(),
        ]
        assert len(asked) > 2 + len(TOPICS)
        assert all(refusal(future).endswith("AUTHORIZATION_FAILED") for future in asked), name
    assert topics.check(secure.operator) == []
    topics.apply(secure.operator)


def test_a_wrong_password_is_let_in_nowhere_and_is_not_repeated(secure: Secure, tmp_path: Path) -> None:
    wrong = {"kafka_password": SecretStr("hunter2"), "store_secret_key": SecretStr("hunter2")}
    settings = secure.operator.model_copy(update=wrong)
    for check in (line_checks.broker, line_checks.store):
        with pytest.raises(Problem) as caught:
            check(Subject(settings, Stack(tmp_path)))
        assert "LATENTLINE_" in caught.value.remedy
        assert "hunter2" not in f"{caught.value}{caught.value.remedy}"
    with pytest.raises(Problem, match="not as a Kafka broker"):
        line_checks.broker(Subject(settings.model_copy(update={"kafka_username": ""}), Stack(tmp_path)))


def test_the_doctor_is_content_with_a_secure_line(secure: Secure) -> None:
    found = doctor.check(Settings(), secure.stack)
    assert [finding for finding in found if not finding.ok] == []


# -- the store -----------------------------------------------------------------------------------------------------

PLACES = {
    "encode": "artifacts/acme/encode/key/object",
    "denoise": "artifacts/acme/denoise/key/object",
    "checkpoint": "artifacts/acme/denoise/key/checkpoint/cpu/1-1-x",
    "decode": "artifacts/acme/decode/key/object",
    "video": "videos/acme/job/object",
    "preview": "preview/acme/job.webp",
    "model": "models/tiny/object",
}
MAY_PUT = {
    "worker-encode": {"encode"}, "worker-denoise": {"denoise", "checkpoint", "preview"}, "worker-decode": {"decode"},
    "worker-mux": {"video"}, "downstream": set(), "operator": set(),
}  # fmt: skip
MAY_GET = {
    "worker-encode": {"encode"}, "worker-denoise": {"encode", "denoise", "checkpoint"},
    "worker-decode": {"denoise", "checkpoint", "decode"}, "worker-mux": {"decode", "video"}, "downstream": {"video"},
    "operator": PLACES.keys() - {"model", "preview"},
}  # fmt: skip
MAY_DELETE = {"worker-denoise": {"checkpoint"}, "operator": PLACES.keys() - {"model", "preview"}}


def store_of(settings: Settings) -> Minio:
    return line_checks._client(settings)


def allowed(settings: Settings, act: str) -> set[str]:
    """Where this principal may do it."""
    store, bucket = store_of(settings), settings.store_bucket
    acts: dict[str, Callable[[str], object]] = {
        "put": lambda key: store.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(b"x"), length=1),
        "get": lambda key: store.get_object(bucket_name=bucket, object_name=key).close(),
        "delete": lambda key: store.remove_object(bucket_name=bucket, object_name=key),
    }
    return {name for name, key in PLACES.items() if is_allowed(partial(acts[act], key))}


def is_allowed(request: Callable[[], object]) -> bool:
    """Any answer but a refusal for want of rights fails."""
    try:
        request()
    except S3Error as error:
        if error.code != "AccessDenied":
            raise
        return False
    return True


def test_each_touches_the_objects_of_its_own_work_and_no_other(secure: Secure) -> None:
    root = settings_in(secure.plan.owner_environment(), Settings())
    for name, may_put in MAY_PUT.items():
        assert allowed(root, "put") == PLACES.keys()
        assert allowed(secure.of(name), "get") == MAY_GET[name], name
        assert allowed(secure.of(name), "put") == may_put, name
        assert allowed(secure.of(name), "delete") == MAY_DELETE.get(name, set()), name
    assert allowed(root, "delete") == PLACES.keys()


def test_coordinator_views_and_upstream_are_nobody_to_the_store(secure: Secure) -> None:
    for name in ("coordinator", "views", "upstream-acme"):
        settings = secure.of(name)
        settings = settings.model_copy(update={"store_secret_key": settings.kafka_password})
        with pytest.raises(S3Error, match="InvalidAccessKeyId"):
            store_of(settings).list_buckets()


# -- prompts -------------------------------------------------------------------------------------------------------


def upstream(secure: Secure, tenant: str, id: str, name: str = "upstream-acme", sign: bool = True) -> None:
    """What docs/security.md tells an upstream service to do, in plain confluent-kafka."""
    settings = secure.of(name)
    key = settings.signing_key.get_secret_value().encode()
    value = json.dumps({"prompt": f"a red circle moving right, {id}", "tenant": tenant}).encode()
    headers = {"ce_type": "latentline.prompt_submitted.v1", "ce_id": id}
    if sign:
        message = f"{headers['ce_type']}\n{headers['ce_id']}\n".encode() + value
        headers["signature"] = f"{name}:{hmac.new(key, message, hashlib.sha256).hexdigest()}"
    producer = Producer({
        "bootstrap.servers": settings.kafka_bootstrap, "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": name,
        "sasl.password": settings.kafka_password.get_secret_value(),
    })  # fmt: skip
    producer.produce("prompts", value, tenant, headers=[*headers.items()])
    assert producer.flush(20) == 0


def test_a_prompt_is_taken_from_whoever_may_speak_for_its_tenant(secure: Secure) -> None:
    upstream(secure, "globex", "stolen")
    upstream(secure, "acme", "unsigned", sign=False)
    upstream(secure, "acme", "good")
    (operators,) = submit(secure.operator, [PromptSubmitted(prompt="a blue square moving up", tenant="globex")])
    expected = {job_id("acme", "good"), operators.job}
    eventually(lambda: expected <= snapshot(secure.operator).keys())
    refused = [letter for letter in letters(secure.operator) if letter.reason == "not_authorised"]
    assert sorted(letter.message for letter in refused) == [
        "a prompt of this line has one header `signature`, this one has 0",
        "upstream-acme may not speak for tenant globex",
    ]
    assert not {job_id("globex", "stolen"), job_id("acme", "unsigned")} & snapshot(secure.operator).keys()


def test_a_prompt_becomes_a_completion_by_least_rights(secure: Secure) -> None:
    """Four workers played by hand, each with its own stage's rights; the one that reads the end has downstream's."""
    upstream(secure, "acme", "whole")
    workers = [PlayedWorker(secure.of(f"worker-{stage}"), name=f"played-{stage}", stages=(stage,)) for stage in STAGES]

    def work() -> list[JobCompleted]:
        for worker in workers:
            worker.work()
        return [event for event in ends.events() if isinstance(event, JobCompleted) and event.job == wanted]

    wanted = job_id("acme", "whole")
    with tail(secure.of("downstream"), COMPLETIONS) as ends:
        (completed,) = eventually(work, 60)
    assert completed.video.key.startswith(f"videos/acme/{wanted}/")
    for worker in workers:
        worker.close()


# -- secrets -------------------------------------------------------------------------------------------------------


def test_secrets_are_kept_where_only_their_owner_reads_them(secure: Secure) -> None:
    folder = secure.stack.data
    assert folder.stat().st_mode & 0o077 == 0
    private = [*folder.glob("secrets/*/*"), folder / "credentials", folder / "stack.json",
               folder / "kafka" / "server.properties"]  # fmt: skip
    assert len(private) > len(NAMES)
    assert [path for path in private if path.stat().st_mode & 0o077] == []


def test_a_run_leaves_no_secret_behind(secure: Secure) -> None:
    """Files, records of every topic, command lines. The same search runs over what chaos has left."""
    told = records(secure.operator) | command_lines(secure.stack.data)
    assert {"jobs", "dlq"} <= told.keys()
    assert any("process" in name for name in told)
    secrets = secrets_of(secure.stack.data)
    assert len(set(secrets)) > 2 * len(NAMES) - 4
    assert leaks(secure.stack.data, told, secrets) == []


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker.log").write_text("password=hunter2")
    (tmp_path / "credentials").write_text("hunter2")
    told = {"jobs": b"...", "dlq": b"..hunter2.."}
    assert leaks(tmp_path, told, ["hunter2"]) == [str(tmp_path / "logs" / "worker.log"), "dlq"]


# -- the stack -----------------------------------------------------------------------------------------------------


def test_an_open_line_is_not_made_secure_behind_its_data(tmp_path: Path) -> None:
    Plan.draw(tmp_path, (), any_ports=True).save()
    with pytest.raises(StackError, match="holds an open line"):
        Stack(tmp_path).up((), any_ports=True, tenants=("acme",))


@pytest.mark.long
def test_a_whole_secure_line_makes_a_video_and_leaves_no_secret_behind(tmp_path: Path) -> None:
    line = Secure(Stack(tmp_path / "data"))
    line.stack.up(services(), any_ports=True, stays=False, tenants=("acme",))
    try:
        upstream(line, "acme", "real")
        wanted = job_id("acme", "real")
        eventually(lambda: (state := snapshot(line.operator).get(wanted)) and state.status.ended, 120)
        state = snapshot(line.operator)[wanted]
        assert state.status is JobStatus.COMPLETED, state.error
        assert state.video is not None
        found = store_of(line.of("downstream")).stat_object(
            bucket_name=line.operator.store_bucket, object_name=state.video.key
        )
        assert found.size == state.video.size
        with tail(line.of("downstream"), USAGE) as usage:
            eventually(lambda: [event for event in usage.events() if isinstance(event, UsageWindow)])
        assert audit(line.operator, command_line.store(line.operator)).breaches == ()
        assert [finding for finding in doctor.check(Settings(), line.stack) if not finding.ok] == []
        assert set(line.stack.status()["restarts"].values()) == {0}
        told = records(line.operator) | command_lines(line.stack.data)
        assert leaks(line.stack.data, told, secrets_of(line.stack.data)) == []
    finally:
        line.stack.down()
