"""Where a partition stands: its last term and checkpoint, in a small queue beside the log."""

from collections.abc import Callable

import structlog

from shared.broker import topology
from shared.broker.ports import Arrived, Channel, Queue
from shared.messages import codec
from shared.messages.records import Landmark

log = structlog.get_logger()


async def move_landmark(
    channel: Channel, queue: Queue, change: Callable[[Landmark], Landmark]
) -> Landmark:
    """Put another landmark in the place of the present one; return it.

    A reign that died in between has left two: what has come furthest counts. Or the last one is
    not back yet from the channel that died: then there seems to be none.

    Raises:
        BrokerUnavailable: the channel is gone.
    """
    found: list[Arrived] = []
    while (arrived := await channel.take(queue.name)) is not None:
        found.append(arrived)
    landmark = change(_furthest([_read(one.body) for one in found]))
    await channel.publish(codec.encode(landmark), topology.queue_address(queue), persistent=True)
    for one in found:
        await channel.acknowledge(one)
    return landmark


def _furthest(found: list[Landmark]) -> Landmark:
    term = max((one.term for one in found), default=0)
    last = max(found, key=lambda one: one.place, default=Landmark(0))
    return Landmark(term, last.checkpoint, last.place)


def _read(body: bytes) -> Landmark:
    try:
        return codec.decode(body, codec.LANDMARK)
    except codec.Undecodable:
        log.warning("not a landmark", action="ignore", body=repr(body[:64]))
        return Landmark(0)
