"""PURE: what this node has been handed of each partition, and what is missing of it.

An owner counts the batches for each inbox. At a hole in the count the node asks for what it has
missed, and holds what comes until it has it, so that nothing is delivered out of order.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shared.messages.deliveries import (
    DeliveryBatch,
    ReplayEnded,
    SubscribersWanted,
    TopicDelivery,
)
from shared.messages.envelopes import ReplayAsked

MAX_HELD = 10_000
"""Deliveries of one partition that are held for a replay; then they go on without it."""

MAX_HELD_BYTES = 16_777_216
"""Likewise, what they may say."""

PATIENCE = 10.0
"""Seconds for which something may be held for a replay.

While nothing is held, the replay may take its time: nobody may be there to answer.
"""

Item = TopicDelivery | ReplayEnded | SubscribersWanted


@dataclass
class Track:
    """What is known of one partition."""

    term: int = 0
    sequence: int = 0
    serial: int = 0
    """All kept broadcasts up to here that this node wants have come."""

    asks: int = 0
    """How often a replay was asked for."""

    waits: bool = False
    asked_at: float = 0.0
    held_since: float = 0.0
    live: list[TopicDelivery] = field(default_factory=list)
    size: int = 0
    """How many bytes what is held says."""

    again: dict[int, TopicDelivery] = field(default_factory=dict)
    """By serial."""

    def ask(self, now: float) -> ReplayAsked:
        """Begin to wait for a replay; return what to ask for."""
        self.asks += 1
        self.waits, self.asked_at = True, now
        return ReplayAsked(self.asks, self.serial)

    def hold(self, delivery: TopicDelivery, now: float) -> None:
        """Hold a delivery until the replay has come."""
        self.held_since = self.held_since if self.live else now
        self.live.append(delivery)
        self.size += len(delivery.payload)

    @property
    def is_too_much(self) -> bool:
        """Whether what is held is to wait no longer."""
        return len(self.live) > MAX_HELD or self.size > MAX_HELD_BYTES

    def release(self) -> list[TopicDelivery]:
        """Wait no longer; return what was held and replayed, in order."""
        merged = list(_merged(self.live, self.again))
        self.live, self.size, self.again, self.waits = [], 0, {}, False
        return merged


@dataclass
class Arrival:
    """What follows from a batch."""

    deliver: list[TopicDelivery] = field(default_factory=list)
    ask: ReplayAsked | None = None
    asked_at: float = 0.0
    """When what is delivered again was asked for: who came later has no claim to it."""

    lost: int = 0
    """Broadcasts that may have been missed and cannot be had again."""


class Gaps:
    """The counts of all partitions."""

    def __init__(self) -> None:
        self._tracks: dict[int, Track] = {}

    def begin(self, *, now: float) -> dict[int, ReplayAsked]:
        """Begin with a new inbox; return what to ask for, by partition.

        What the old one held is lost with it.
        """
        for track in self._tracks.values():
            track.term = track.sequence = 0
            track.live, track.size, track.again = [], 0, {}
        return {partition: track.ask(now) for partition, track in self._tracks.items()}

    def is_outdated(self, batch: DeliveryBatch) -> bool:
        """Whether the batch is of a reign that is over."""
        track = self._tracks.get(batch.partition)
        return track is not None and batch.term < track.term

    def take(self, batch: DeliveryBatch, items: list[Item], *, now: float) -> Arrival:
        """Take a batch in; return what is to be done now, in order."""
        track = self._tracks.setdefault(batch.partition, Track())
        if batch.term > track.term:
            track.term, track.sequence = batch.term, 0
        arrival = Arrival()
        if batch.sequence > track.sequence + bool(items):
            arrival.ask = track.ask(now)
        track.sequence = max(track.sequence, batch.sequence)
        for item in items:
            self._put(track, item, arrival, now)
        arrival.asked_at = track.asked_at
        if track.is_too_much:
            arrival.deliver += track.release()
        if not track.waits:
            serials = [one.serial for one in arrival.deliver]
            track.serial = max(track.serial, batch.serial, *serials)
        return arrival

    def _put(self, track: Track, item: Item, arrival: Arrival, now: float) -> None:
        match item:
            case SubscribersWanted():
                pass  # no delivery, but it counts
            case ReplayEnded():
                if track.waits and item.ask == track.asks:
                    arrival.lost += item.lost
                    arrival.deliver += track.release()
            case TopicDelivery(replayed=True):
                if track.waits:
                    track.again[item.serial] = item
            case _ if track.waits:
                track.hold(item, now)
            case _:
                arrival.deliver.append(item)

    def overdue(self, *, now: float) -> list[tuple[int, list[TopicDelivery], float]]:
        """Return what has waited too long for a replay, by partition; it goes on without.

        With it comes when the replay was asked for: see ``Arrival``.
        """
        return [
            (partition, track.release(), track.asked_at)
            for partition, track in self._tracks.items()
            if track.live and now - track.held_since > PATIENCE
        ]


def _merged(live: list[TopicDelivery], again: dict[int, TopicDelivery]) -> Iterator[TopicDelivery]:
    """Put all that is kept into the order in which it was said, and the rest where it belongs.

    What came live need not be in order: a command that its gateway has sent again is delivered
    again, behind what was said after it.
    """
    kept = {one.serial: one for one in (*again.values(), *reversed(live)) if one.serial}
    left = deque(kept[serial] for serial in sorted(kept))
    for one in live:
        up_to = one.serial or _last_before(one, left)
        while left and left[0].serial <= up_to:
            yield left.popleft()
        if kept.get(one.serial) is not one:
            yield one  # it is live only, or repeats what was yielded, and is to be reported, too
    yield from left


def _last_before(live_only: TopicDelivery, kept: Iterable[TopicDelivery]) -> int:
    """Return the highest serial of what the same process sent before this; 0 if it sent nothing."""
    process, number = live_only.process, live_only.number
    before = (one.serial for one in kept if one.process == process and one.number < number)
    return max(before, default=0)
