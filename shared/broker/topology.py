"""The queues and exchanges, by name. Every name on the broker is made here."""

from shared.broker.ports import Address, Queue, QueueKind

ROUTER = "router"
PRESENCE = "presence"

FROM_GATEWAYS = "from-gateways"
"""Fanout exchange: the gateways' leases."""

FROM_SERVICES = "from-services"
"""Fanout exchange: the replicas' heartbeats with their terms."""

EVERYONE = "everyone"
"""Fanout exchange: deliveries of an owner that cannot know all nodes."""

INBOX_LIMIT = 10_000
POISON_LIMIT = 100_000


def commands(service: str, partition: int) -> Queue:
    """Return the queue with the commands and facts of one partition."""
    return Queue(f"{service}.commands.{partition}", QueueKind.PARTITION)


def terms(service: str, partition: int) -> Queue:
    """Return the queue that keeps the term of a partition's last reign."""
    return Queue(f"{service}.terms.{partition}", QueueKind.KEPT)


def inbox(node_id: str, boot: str) -> Queue:
    """Return the queue with the topic deliveries for one node."""
    name = f"inbox.{node_id}.{boot}"
    return Queue(name, QueueKind.EXCLUSIVE, max_length=INBOX_LIMIT, fed_by=(EVERYONE,))


def direct(node_id: str, boot: str) -> Queue:
    """Return the queue with the direct messages for one node."""
    return Queue(f"direct.{node_id}.{boot}", QueueKind.EXCLUSIVE, max_length=INBOX_LIMIT)


def answers(node_id: str, boot: str) -> Queue:
    """Return the queue with the answers and receipts for one node."""
    return Queue(f"answers.{node_id}.{boot}", QueueKind.EXCLUSIVE)


def news(process: str, *exchanges: str) -> Queue:
    """Return the queue on which one process hears leases, heartbeats, or both."""
    return Queue(f"news.{process}", QueueKind.EXCLUSIVE, fed_by=exchanges)


POISON = Queue("poison", QueueKind.KEPT, max_length=POISON_LIMIT)


def queue_address(queue: Queue) -> Address:
    """Return the address of one queue."""
    return Address(queue=queue.name)


def fanout_address(exchange: str) -> Address:
    """Return the address of all queues bound to a fanout exchange."""
    return Address(exchange=exchange)
