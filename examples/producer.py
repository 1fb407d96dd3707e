"""An upstream service: one prompt into the line, as a CloudEvent in Kafka's binary mode.

python examples/producer.py "a red circle moving right on a blue background"
"""

import json
import os
import sys
import uuid

from confluent_kafka import Producer

data = {"prompt": " ".join(sys.argv[1:]) or "a red circle moving right on a blue background", "tenant": "acme"}
headers: dict[str, str | bytes | None] = {
    "ce_specversion": "1.0",
    "ce_id": str(uuid.uuid4()),  # with the same source and id again, it is the same job
    "ce_source": "examples/producer",
    "ce_type": "latentline.prompt_submitted.v1",
    "content-type": "application/json",
}
producer = Producer({"bootstrap.servers": os.environ.get("KAFKA", "127.0.0.1:9092"), "enable.idempotence": True})
topic = os.environ.get("PROMPTS", "prompts")
producer.produce(topic, json.dumps(data).encode(), data["tenant"], headers=headers)
sys.exit("not delivered within 10 s" if producer.flush(10) else None)
