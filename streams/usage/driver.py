"""Faust's Kafka driver, made to read committed records only.

Faust asks for `read_committed` only together with its own exactly-once processing, which it does not do well; without
it an aborted transaction of the coordinator would be counted. The setting has no other way in than this subclass.
"""

from __future__ import annotations

from typing import Any

from faust.transport.drivers import aiokafka as driver

ISOLATION_LEVEL = "read_committed"


class CommittedConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Read when the consumer starts. Set here since the constructor call above takes no more arguments.
        if not hasattr(consumer, "_isolation_level"):
            raise RuntimeError("this aiokafka keeps the isolation level elsewhere: views would read aborted records")
        consumer._isolation_level = ISOLATION_LEVEL
        return consumer


class CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> CommittedConsumerThread:
        return CommittedConsumerThread(self, loop=self.loop, beacon=self.beacon)


class CommittedTransport(driver.Transport):
    Consumer = CommittedConsumer
