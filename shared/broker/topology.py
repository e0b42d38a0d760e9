"""The queues and exchanges, by name. Every name on the broker is made here."""

from shared.broker.ports import Address, Queue, QueueKind

ROUTER = "router"
PRESENCE = "presence"

FROM_GATEWAYS = "from-gateways"
"""Fanout exchange: the gateways' leases."""

FROM_SERVICES = "from-services"
"""Fanout exchange: the replicas' heartbeats with their terms."""

AMONG_GATEWAYS = "among-gateways"
"""Fanout exchange: what busy users ask for of their rate."""

QUESTIONS = "questions"
"""Fanout exchange: what operators ask all processes."""

EXTENSIONS = "extensions"
"""Direct exchange: commands to the workers of an extension, whose type is the key (X1)."""

INBOX_LIMIT = 10_000
EXTENSION_LIMIT = 10_000
KEPT_LIMIT = 100_000
DIRECT_TTL_MS = 30_000
DIRECT_EXPIRES_MS = 600_000
UNSERVED_EXPIRES_MS = 60_000

LOG_BYTES = 268_435_456
"""What the log of one partition keeps. Checkpoints are made far more often: see ``log``."""


def commands(service: str, partition: int) -> Queue:
    """Return the queue with the commands and facts of one partition."""
    return Queue(f"{service}.commands.{partition}", QueueKind.PARTITION)


def terms(service: str, partition: int) -> Queue:
    """Return the queue that keeps the last term and checkpoint of a partition."""
    return Queue(f"{service}.terms.{partition}", QueueKind.KEPT)


def log(service: str, partition: int) -> Queue:
    """Return the log of one partition."""
    return Queue(f"{service}.log.{partition}", QueueKind.LOG, max_bytes=LOG_BYTES)


def inbox(node_id: str, boot: str) -> Queue:
    """Return the queue with the topic deliveries for one node."""
    name = f"inbox.{node_id}.{boot}"
    return Queue(name, QueueKind.EXCLUSIVE, max_length=INBOX_LIMIT)


def direct(node_id: str, process: str) -> Queue:
    """Return the queue with the direct messages for one process of a node.

    It outlives the process; what waits there too long moves to ``UNDELIVERED``.
    """
    return Queue(
        f"direct.{node_id}.{process}",
        QueueKind.KEPT,
        max_length=INBOX_LIMIT,
        ttl_ms=DIRECT_TTL_MS,
        dead_letters=UNDELIVERED.name,
        expires_ms=DIRECT_EXPIRES_MS,
    )


def answers(node_id: str, boot: str) -> Queue:
    """Return the queue with the answers and receipts for one node."""
    return Queue(f"answers.{node_id}.{boot}", QueueKind.EXCLUSIVE)


def news(process: str, *exchanges: str) -> Queue:
    """Return the queue on which one process hears leases, heartbeats, questions."""
    return Queue(f"news.{process}", QueueKind.EXCLUSIVE, fed_by=exchanges)


def extension(kind: str) -> Queue:
    """Return the queue that all workers of an extension share (X1)."""
    return Queue(
        f"extension.{kind}",
        QueueKind.WORK,
        max_length=EXTENSION_LIMIT,
        bound_to=(extension_address(kind),),
    )


def extension_of_clients(kind: str) -> Queue:
    """Return the queue that all connected clients share that serve an extension (X1).

    After a restart of RabbitMQ it is there without a consumer, and goes after a while.
    """
    return Queue(
        f"extension.clients.{kind}",
        QueueKind.SHARED,
        max_length=EXTENSION_LIMIT,
        expires_ms=UNSERVED_EXPIRES_MS,
    )


def is_news(name: str) -> bool:
    """Whether this is the name of a queue for news; those of commands and logs are not."""
    return name.startswith("news.")


def trials(name: str) -> tuple[Queue, ...]:
    """Return queues for nothing but a trial: each user of a service may make one of them."""
    return news(f"trial.{name}"), Queue(f"extension.trial.{name}", QueueKind.EXCLUSIVE)


POISON = Queue("poison", QueueKind.KEPT, max_length=KEPT_LIMIT)
"""What is no envelope of ours, for the operator."""

UNDELIVERED = Queue("undelivered", QueueKind.KEPT, max_length=KEPT_LIMIT)
"""Direct messages that no gateway has taken in time; presence looks for their users again."""


def queue_address(queue: Queue) -> Address:
    """Return the address of one queue."""
    return Address(queue=queue.name)


def fanout_address(exchange: str) -> Address:
    """Return the address of all queues bound to a fanout exchange."""
    return Address(exchange=exchange)


def extension_address(kind: str) -> Address:
    """Return the address of the workers of an extension."""
    return Address(exchange=EXTENSIONS, key=kind)
