"""What tests of history, confirmations and survival need besides the services and people."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from presence_service.app import PresenceService, make_presence
from router.app import make_router
from shared.broker.memory_queues import MemoryQueue
from shared.ownership.replica import Replica
from shared.partitions import partition_of
from shared.settings import load
from shared.trail import Trail
from tests.support.embedded import Message, Place, Talk, token, until


class Stall:
    """Lets nothing out of the queues whose names begin so, until it is opened."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._pump = MemoryQueue.pump
        self._stalled: dict[str, MemoryQueue] = {}

    def __enter__(self) -> "Stall":
        stall = self

        def pump(queue: MemoryQueue) -> None:
            if queue.spec.name.startswith(stall._prefix):
                stall._stalled[queue.spec.name] = queue
            else:
                stall._pump(queue)

        MemoryQueue.pump = pump  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    @property
    def waiting(self) -> int:
        """How many messages wait in the queues that something came to."""
        return sum(len(queue._messages) for queue in self._stalled.values())

    def open(self) -> None:
        """Let everything out, in order."""
        MemoryQueue.pump = self._pump  # type: ignore[method-assign]
        for queue in self._stalled.values():
            queue.pump()


def waiting_in(place: Place, prefix: str) -> int:
    """Return how many messages wait in the queues whose names begin so."""
    queues = place.server.broker._queues.items()
    return sum(len(queue._messages) for name, queue in queues if name.startswith(prefix))


def held_by_consumers(place: Place, prefix: str) -> int:
    """Return how many messages of such queues are handed out and not acknowledged."""
    queues = place.server.broker._queues.items()
    return sum(
        consumer.holds
        for name, queue in queues
        if name.startswith(prefix)
        for consumer in queue._consumers
    )


def waits_for(place: Place, user: str) -> int:
    """Return how many messages wait in a user's mailbox, whoever owns it."""
    owners = [seat.reign.owner for seat in place.server.presence.replica._seats if seat.reign]
    boxes = [entry for owner in owners for entry in getattr(owner, "mailboxes")]  # noqa: B009
    return sum(entry.target_user == user for entry in boxes)


def logged(place: Place, service: str) -> int:
    """Return how many records batches the logs of a service hold."""
    return waiting_in(place, f"{service}.log.")


def terms(replica: Replica) -> dict[int, int]:
    """Return the partitions that a replica serves, with the terms of its reigns."""
    return replica._terms()


async def end_reigns(place: Place, service: str) -> None:
    """Cut a service off; return when somebody reigns everywhere again."""
    replica = place.server.router if service == "router" else place.server.presence.replica
    before = terms(replica)
    place.server.broker.cut(f"{service} {place.server.settings.node_id}")
    await until(lambda: replica.owned == 0, "the reigns are over")
    partitions = place.server.settings.partitions
    await until(lambda: replica.owned == partitions and place.server.ready, "others reign")
    after = terms(replica)
    assert all(after[one] > before.get(one, 0) for one in after)


async def lose_inbox(place: Place) -> None:
    """Cut the connection on which the gateway consumes; return when a new boot is ready."""
    membership = place.server.node.membership
    before = (await membership.life()).sender.boot
    place.server.broker.cut(f"gateway {place.server.settings.node_id} consume")
    await until(lambda: not membership.ready, "the loss is noticed")
    await until(lambda: place.server.ready, "a new boot is ready")
    assert (await membership.life()).sender.boot > before


@asynccontextmanager
async def second_replica(place: Place, service: str) -> AsyncIterator[Replica]:
    """Run one more replica of a service for a while."""
    made = _second(place, service)
    running = asyncio.create_task(made.run())
    try:
        yield made if isinstance(made, Replica) else made.replica
    finally:
        running.cancel()
        await asyncio.wait([running])


def _second(place: Place, service: str) -> Replica | PresenceService:
    ours = place.server.settings
    given = {name: getattr(ours, name) for name in ("mode", "partitions", "history", "jwt_secret")}
    settings = load({}, **given, node_id=f"{ours.node_id}-second")
    trail = Trail(service, settings.node_id, time.time_ns)
    if service == "router":
        return make_router(settings, place.server.broker, CollectorRegistry(), trail)
    return make_presence(settings, place.server.broker, CollectorRegistry(), trail)


def topic_of(partition: int, partitions: int = 2) -> str:
    """Return a topic that this partition serves."""
    names = (f"topic.{number}" for number in range(100))
    return next(one for one in names if partition_of(one, partitions) == partition)


# ---- people --------------------------------------------------------------------------------------


async def acknowledging(place: Place, user: str) -> Talk:
    """Connect a user whose client confirms direct messages."""
    talk = await place.open(f"{token(user)}&acks=1")
    talk.welcome = (await talk.hear())["data"]["details"]
    return talk


async def place_of(talk: Talk, topic: str) -> tuple[str, int]:
    """Return the epoch and the offset that a topic has come to."""
    [page, _] = await talk.ask("History", {"topic": topic})
    return page["data"]["epoch"], page["data"]["offset"]


async def recover(talk: Talk, starts: dict[str, Any], *topics: str) -> Message:
    """Subscribe to topics and recover some; return the details of the Status."""
    data = {"topics": list(dict.fromkeys([*starts, *topics])), "recover": starts}
    status, ack = await talk.ask("Subscribe", data)
    assert (status["type"], ack["type"]) == ("Status", "Ack"), (status, ack)
    details: Message = status["data"]["details"]
    return details


async def history(talk: Talk, topic: str, **asked: Any) -> Message:
    """Ask for a page of history; return its data."""
    page, ack = await talk.ask("History", {"topic": topic, **asked})
    assert (page["type"], ack["data"]["status"]) == ("History", "ok"), (page, ack)
    data: Message = page["data"]
    return data


def payloads(messages: list[Message], kind: str = "Broadcast") -> list[Any]:
    """Return what these messages say, of one kind."""
    return [one["data"]["payload"] for one in messages if one["type"] == kind]


def metadata(message: Message) -> Message:
    """Return a delivered message's metadata."""
    found: Message = message["data"]["metadata"]
    return found
