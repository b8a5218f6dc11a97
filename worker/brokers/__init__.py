"""The brokers, behind one contract (`worker.brokers.base`)."""

from __future__ import annotations

from worker.brokers.base import Broker, Delayed, Delivery, Depth, Queue
from worker.config import Settings

__all__ = ["Broker", "Delayed", "Delivery", "Depth", "Queue", "connect"]


def connect(settings: Settings, name: str) -> Broker:
    """The broker that `settings` name, for the program `name`; `open` it before use. Only its own client is imported."""
    if settings.queue_backend == "redis":
        from worker.brokers.redis_streams import RedisStreams

        return RedisStreams(settings, name)
    from worker.brokers.rabbitmq import RabbitMQ

    return RabbitMQ(settings, name)
