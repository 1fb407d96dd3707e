"""The coordinator as a process: the only folder of the coordinator with Kafka in it."""

from streams.coordinator.service.main import run_coordinator

__all__ = ["run_coordinator"]
