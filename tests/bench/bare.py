"""The least that a create could be: a FastAPI route that puts the body into the broker and waits for its word."""

from __future__ import annotations

import asyncio
import sys
import uuid
from threading import Thread

import uvicorn
from confluent_kafka import KafkaError, Message
from fastapi import FastAPI, Request

from runtime.settings import Settings
from streams.kafka import clients
from streams.kafka.topics import PROMPTS


def make_app(settings: Settings) -> FastAPI:
    app, topic = FastAPI(), PROMPTS.named(settings.topic_prefix)
    producer = clients.producer(clients.PRODUCER, settings)

    def serve() -> None:
        while True:
            producer.poll(0.1)

    Thread(target=serve, daemon=True).start()

    @app.post("/v1/videos")
    async def create(request: Request) -> dict[str, str]:
        body, loop = await request.body(), asyncio.get_running_loop()
        acknowledged: asyncio.Future[KafkaError | None] = loop.create_future()

        def delivered(error: KafkaError | None, message: Message) -> None:
            loop.call_soon_threadsafe(acknowledged.set_result, error)

        producer.produce(topic, body, "default", on_delivery=delivered)
        if error := await acknowledged:
            raise RuntimeError(error)
        return {"id": f"video_{uuid.uuid4().hex}"}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(Settings()), port=int(sys.argv[1]), log_config=None, access_log=False)
