"""Checks of the line: its bundles, its services, its broker and its store, as a client meets them."""

from __future__ import annotations

import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import urllib3
from confluent_kafka import KafkaException
from minio import Minio
from minio.error import S3Error
from pydantic import ValidationError

from infra.local import topics
from infra.local.finding import Problem, Subject
from infra.local.health import unready, warnings
from infra.local.stack import Stack
from operations import diagnosis
from operations.workers import WorkerRegistry
from runtime.settings import Settings
from schemas.bundle import read_bundles
from streams.kafka.clients import ErrorWatch
from streams.kafka.errors import ClientError
from streams.kafka.partitions import TOO_MANY
from streams.kafka.topics import TOPICS

ANSWER_WITHIN_S = 3.0
LARGEST_SKEW_S = 60.0
"""Signatures are refused at 15 minutes; a clock that is a minute off is on its way there."""
LOOPING_RESTARTS = 3
START = "start a local line with `latentline up`"


def bundles(subject: Subject) -> str:
    settings = subject.settings
    point = "point LATENTLINE_BUNDLES at bundle folders, separated by `" + os.pathsep + "`"
    try:
        found = read_bundles(settings.bundles)
    except FileNotFoundError as error:
        raise Problem(f"no bundle: {error.filename} is missing", point) from error
    except (OSError, ValidationError, ValueError) as error:
        raise Problem(f"a bundle's manifest cannot be read: {error}", f"make the bundle again, or {point}") from error
    if settings.default_model not in found:
        raise Problem(
            f"the default model {settings.default_model!r} is none of {', '.join(found)}",
            f"name one of them in LATENTLINE_DEFAULT_MODEL, or {point}",
        )
    return ", ".join(found)


def services(subject: Subject) -> str:
    status = subject.stack.status()
    state = status["state"]
    if state == "failed" or (state == "down" and status.get("message")):
        raise Problem(
            f"the stack failed at its last start: {status['message']}",
            f"read {subject.stack.data / 'logs'}, then `latentline up`",
        )
    if state != "running":
        return f"the stack in {subject.stack.data} is {state}"
    troubles = [trouble for name in status["health"] if (trouble := _trouble(subject.stack, name))]
    if troubles:
        raise Problem("; ".join(troubles), f"read its log in {subject.stack.data / 'logs'}")
    return f"{len(status['pids'])} processes run, every service is ready"


def _trouble(stack: Stack, name: str) -> str | None:
    status = stack.status()
    restarts, code = status["restarts"].get(name, 0), status["last_exit"].get(name)
    if name not in status["pids"] and code == 0:
        return f"{name} has left (it ended with exit code 0)"
    why = unready(status["health"][name])
    if why is None:
        return "; ".join(f"{name} warns: {warning}" for warning in warnings(status["health"][name])) or None
    if restarts >= LOOPING_RESTARTS:
        return f"{name} keeps failing: restarted {restarts} times, last exit code {code}"
    return f"{name} is not ready: {why}"


def broker(subject: Subject) -> str:
    settings = subject.settings
    refused = [server for server in settings.kafka_bootstrap.split(",") if (_refusal(server))]
    if refused:
        raise Problem(
            f"no broker: nobody answers at {', '.join(refused)}",
            f"{START}, or name your brokers in LATENTLINE_KAFKA_BOOTSTRAP",
        )
    watch = ErrorWatch()
    client = topics.admin(settings, watch)
    try:
        cluster = client.list_topics(timeout=ANSWER_WITHIN_S)
    except KafkaException as error:
        client.poll(0.1)  # tells the watch
        if watch.refused:
            raise Problem(
                f"the broker at {settings.kafka_bootstrap} does not let {settings.kafka_username!r} in",
                "check LATENTLINE_KAFKA_USERNAME and LATENTLINE_KAFKA_PASSWORD",
            ) from error
        raise Problem(
            f"something listens at {settings.kafka_bootstrap}, but not as a Kafka broker: {error.args[0].str()}",
            "check LATENTLINE_KAFKA_BOOTSTRAP, whether it asks for LATENTLINE_KAFKA_USERNAME, and its own log",
        ) from error
    return f"{len(cluster.brokers)} at {settings.kafka_bootstrap}"


def weights(subject: Subject) -> str:
    """Whether every worker computes with the weights that this machine's bundles describe."""
    settings = subject.settings
    try:
        ours = read_bundles(settings.bundles)
        broker(subject)
        with WorkerRegistry(settings) as roll:
            beats = [heard.beat for heard in roll.workers.values() if not heard.is_gone]
    except (Problem, ClientError, OSError, ValueError):
        return "not known while a bundle or the broker is missing"
    others = [
        f"{beat.worker} has {model} as {revision[:12]}, here it is {ours[model].revision[:12]}"
        for beat in sorted(beats, key=lambda beat: beat.worker)
        for model, revision in beat.revisions.items()
        if model in ours and ours[model].revision != revision
    ]
    if others:
        raise Problem(
            "weights differ under one name: " + "; ".join(others),
            "give every worker and the coordinator the same bundle, and start the workers again: "
            "a job runs only where the weights are those that it was accepted with",
        )
    return f"the same at {len(beats)} workers" if beats else "no worker is heard"


def readable(subject: Subject) -> str:
    """Whether what is written can be read: no transaction hangs on a topic of the line."""
    return _told(
        subject, diagnosis.held_offsets, "every topic can be read to its end",
        "end that producer; the broker ends its transaction by itself after the transaction.timeout.ms that it asked "
        "for. `kafka-transactions.sh describe-producers` names it",
    )  # fmt: skip


def dead_reports(subject: Subject) -> str:
    return _told(
        subject, diagnosis.dead_reports, "no report was dead-lettered lately",
        "`latentline dlq list` and `latentline dlq show` tell what was not understood; compare the releases of workers "
        "and coordinator",
    )  # fmt: skip


def coordinator(subject: Subject) -> str:
    return _told(
        subject, diagnosis.coordinator_silence, "it commits, or has never run here",
        "look at its /healthz and its log; its supervisor starts it anew when it ends",
    )  # fmt: skip


def _told(subject: Subject, ask: Callable[[Settings, float], list[str]], well: str, remedy: str) -> str:
    try:
        broker(subject)
        words = ask(subject.settings, time.time())
    except (Problem, ClientError):
        return "not known while the broker is unreachable or lacks topics"
    if words:
        raise Problem("; ".join(words), remedy)
    return well


def _refusal(server: str) -> str | None:
    host, _, port = server.strip().rpartition(":")
    try:
        socket.create_connection((host, int(port)), ANSWER_WITHIN_S).close()
    except (OSError, ValueError) as error:
        return str(error)
    return None


def topic_table(subject: Subject) -> str:
    settings = subject.settings
    try:
        broker(subject)
        differences = topics.check(settings)
    except (Problem, KafkaException):
        return "not known while the broker is unreachable"
    if differences:
        applied = "`latentline topics apply` makes them as the table says (it never takes partitions away)"
        numbered = {topic.named(settings.topic_prefix) for topic in TOPICS if topic.per_cell}
        unserved = any(one.topic in numbered and not one.can_be_applied for one in differences)
        raise Problem(
            "topics differ from the table: " + "; ".join(map(str, differences)),
            f"{TOO_MANY}. For the rest, {applied}" if unserved else applied,
        )
    return f"{len(TOPICS)} topics as the table says"


def store(subject: Subject) -> str:
    settings = subject.settings
    try:
        exists = _client(settings).bucket_exists(bucket_name=settings.store_bucket)
    except S3Error as error:
        raise Problem(
            f"the store at {settings.store_endpoint} refuses these credentials: {error.code}",
            "check LATENTLINE_STORE_ACCESS_KEY and LATENTLINE_STORE_SECRET_KEY",
        ) from error
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise Problem(
            f"no store: nobody answers as one at {settings.store_endpoint}",
            f"{START}, or name your store in LATENTLINE_STORE_ENDPOINT",
        ) from error
    if not exists:
        raise Problem(
            f"the bucket {settings.store_bucket!r} is missing at {settings.store_endpoint}",
            "`latentline up` makes it in a local line; else make it, or name another in LATENTLINE_STORE_BUCKET",
        )
    return f"bucket {settings.store_bucket!r} at {settings.store_endpoint}"


def _client(settings: Settings) -> Minio:
    """One that fails within seconds."""
    http = urllib3.PoolManager(timeout=urllib3.Timeout(ANSWER_WITHIN_S), retries=False)
    return Minio(
        endpoint=settings.store_endpoint, access_key=settings.store_access_key,
        secret_key=settings.store_secret_key.get_secret_value(), secure=settings.store_secure,
        region=settings.store_region, http_client=http,
    )  # fmt: skip


def clock(subject: Subject) -> str:
    try:
        skew = time.time() - store_time(subject.settings)
    except OSError:
        return "not known while the store is unreachable"
    if abs(skew) > LARGEST_SKEW_S:
        direction = "ahead of" if skew > 0 else "behind"
        raise Problem(
            f"this machine's clock is {abs(skew):.0f} s {direction} the store's",
            "synchronise both clocks (NTP): the store refuses signatures that are 15 minutes off",
        )
    return f"within {max(abs(skew), 1):.0f} s of the store's"


def store_time(settings: Settings) -> float:
    """The store's clock, unix seconds, to the second. Raises `OSError` when it does not say."""
    url = f"http{'s' if settings.store_secure else ''}://{settings.store_endpoint}/"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as answer:
            date = answer.headers["Date"]
    except urllib.error.HTTPError as error:
        with error:
            date = error.headers["Date"]
    if date is None:
        raise OSError(f"no Date from {url}")
    return parsedate_to_datetime(date).timestamp()
