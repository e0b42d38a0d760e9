"""What RabbitMQ is told of a queue when it is declared."""

from typing import Any

from shared.broker.ports import Queue, QueueKind
from shared.broker.topology import POISON

DELIVERY_LIMIT = 20
"""Times a command may come back before it is put aside."""

SEGMENT_BYTES = 16_000_000
"""How much of a log goes at a time, at most."""

_LIMITED = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": POISON.name,
}


def queue_arguments(queue: Queue) -> dict[str, Any]:
    """Return the arguments with which a queue is declared."""
    return _of_its_kind(queue) | _of_its_limits(queue)


def _of_its_kind(queue: Queue) -> dict[str, Any]:
    match queue.kind:
        case QueueKind.PARTITION:
            return {**_LIMITED, "x-single-active-consumer": True}
        case QueueKind.WORK:
            return _LIMITED
        case QueueKind.KEPT:
            return {"x-queue-type": "quorum"}  # a classic one would be gone with its cluster node
        case QueueKind.LOG:
            return {"x-queue-type": "stream"}
        case QueueKind.EXCLUSIVE | QueueKind.SHARED:
            return {}


def _of_its_limits(queue: Queue) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if queue.max_length is not None:
        is_quorum = queue.kind in {QueueKind.KEPT, QueueKind.WORK}
        most = queue.max_length - is_quorum  # it takes one more
        arguments |= {"x-max-length": most, "x-overflow": "reject-publish"}
    if queue.ttl_ms is not None:
        arguments["x-message-ttl"] = queue.ttl_ms
    if queue.dead_letters is not None:
        arguments |= {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue.dead_letters,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",  # or else they would be lost between the two queues
        }
    if queue.expires_ms is not None:
        arguments["x-expires"] = queue.expires_ms
    if queue.max_bytes is not None:
        arguments |= {
            "x-max-length-bytes": queue.max_bytes,
            "x-stream-max-segment-size-bytes": min(SEGMENT_BYTES, queue.max_bytes // 4),
        }
    return arguments
