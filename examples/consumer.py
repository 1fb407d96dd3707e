"""A downstream service: the end of every job, each once for a reader of committed records.

python examples/consumer.py
"""

import json
import os
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer

consumer = Consumer({
    "bootstrap.servers": os.environ.get("KAFKA", "127.0.0.1:9092"),
    "group.id": os.environ.get("GROUP", "example"),
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})  # fmt: skip
consumer.subscribe([os.environ.get("COMPLETIONS", "completions")])
with suppress(KeyboardInterrupt):
    while True:
        record: Any = consumer.poll(1)
        if record and not record.error():
            kind, end = dict(record.headers())["ce_type"].decode(), json.loads(record.value())
            result = end.get("video", {}).get("key") or end.get("error", {}).get("message") or end.get("reason")
            print(kind, end["job"], result, flush=True)
            consumer.commit(message=record, asynchronous=False)  # handled: not before, so none is missed
consumer.close()
