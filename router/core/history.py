"""PURE: what was said on the topics of one partition, as far as it is kept (H1 to H4)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile

from router.core.retention import Bounds, Held, Place, Retention, Topics, Words, fitting
from shared.messages.records import HistoryReached, Published, TopicReached
from shared.topics.pattern import has_wildcard

OVERLAP_MS = 2000
"""How much earlier than asked for a replay by time begins (H3)."""

PAGE_BYTES = 524_288
"""Bytes of payload and metadata in one answer (H1); a larger message comes alone."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a topic's history (H1)."""

    messages: list[Published]
    epoch: str
    offset: int
    """Where the topic is now; 0 if nobody has spoken on it in this epoch."""

    complete: bool
    """Nothing that was asked for is lacking: not evicted, and not left for another page."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What a subscriber has missed (H3), or the next part of it."""

    messages: list[Published]
    recovered: bool
    """False if anything is lacking; then there are no messages at all."""

    serial: int
    """Where to go on from."""

    more: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """What is held of all that came behind a serial."""

    messages: list[Published]
    lost: int
    """How many are held no more, of whatever topics."""


class History:
    """The kept broadcasts of one partition.

    They are counted by ``serial``, all of them, and by ``offset``, topic by topic. An ``epoch``
    tells apart the offsets of a topic that was forgotten and has come back. Stamps never decrease
    from one serial to the next.

    ``epoch`` is the identity of the log; ``keeps_all`` says whether every topic that meets some
    words has history; of what was sent before ``began_ms`` this log does not know.
    """

    def __init__(
        self,
        retention: Callable[[str], Retention],
        epoch: str = "",
        *,
        keeps_all: Callable[[Words], bool] = lambda words: True,
        began_ms: int = 0,
        bounds: Bounds | None = None,
    ) -> None:
        self.serial = 0
        self.sent_at_ms = 0
        """The last stamp."""
        self.known = Topics(epoch)
        self.held = Held()
        self._retention = retention
        self._keeps_all = keeps_all
        self._bounds = bounds or Bounds()
        self.began(began_ms)

    @property
    def epoch(self) -> str:
        """What topics that are not known begin with; the log's identity at first."""
        return self.known.epoch

    @epoch.setter
    def epoch(self, epoch: str) -> None:
        self.known.epoch = epoch

    # ---- taking in -------------------------------------------------------------------------------

    def next_place(self, topic: str) -> Place:
        """Return what the next kept message of a topic gets; nothing is changed."""
        epoch, offset = self.known.reached(topic)
        return Place(epoch, offset + 1, self.serial + 1)

    def append(self, published: Published, now_ms: int) -> None:
        """Take in a message at its recorded place, just published or read from the log.

        What is not behind the highest serial is known already.
        """
        if published.serial <= self.serial:
            return
        self.serial = published.serial
        self.sent_at_ms = max(self.sent_at_ms, published.sent_at_ms)
        if not self.known.advance(published):
            self.held.drop_all(published.topic)
        self.held.put(published)
        self._trim(published.topic, now_ms)
        self._trim_partition()

    def sweep(self, now_ms: int) -> None:
        """Drop what is too old."""
        for topic in self.held.topics():
            self._trim(topic, now_ms)

    def erase(self, user_id: str, serial: int) -> int:
        """Drop what a user has said up to a serial, lacked by nobody; return how many messages."""
        return self.held.blank(user_id, serial)

    # ---- answering -------------------------------------------------------------------------------

    def find(self, topic: str, message_id: str) -> Published | None:
        """Return a message that is still held."""
        return self.held.find(topic, message_id)

    def page(
        self,
        topic: str,
        *,
        limit: int,
        after: int | None = None,
        before: int | None = None,
        reverse: bool = False,
        now_ms: int,
        max_bytes: int = PAGE_BYTES,
    ) -> Page:
        """Return a part of a topic's history (H1).

        Asked for is what lies between the offsets ``after`` and ``before``, both exclusive. If that
        is too much, the oldest of it is given for ``after``, else the newest. It is in order; with
        ``reverse`` it is the newest, newest first. So one reads on with ``after`` the last offset,
        and back with ``before`` the lowest.
        """
        self._trim(topic, now_ms)
        epoch, top = self.known.reached(topic)
        low = after or 0
        high = top if before is None else min(top, before - 1)
        asked = [one for one in self.held.of(topic) if low < one.offset <= high]
        backwards = reverse or after is None
        given = [one for one in asked if not _outlived(one, now_ms)]
        walk = reversed(given) if backwards else iter(given)
        messages, _ = fitting(islice(walk, limit), max_bytes)
        complete = low <= top and len(asked) >= high - low and len(messages) == len(given)
        if backwards and not reverse:
            messages.reverse()
        return Page(messages, epoch, top, complete)

    def missed(
        self,
        words: Words,
        *,
        since_ms: int | None = None,
        position: tuple[str, int] | None = None,
        after_serial: int = 0,
        now_ms: int,
        max_bytes: int = PAGE_BYTES,
    ) -> Missed:
        """Return what a subscriber has missed: all of it, in order, or nothing (H3).

        It is asked for by the stamp of what was seen last, for a topic or a pattern, or by epoch
        and offset, for a topic. The next part is asked for with the ``serial`` of the one before.
        """
        if position is not None:
            found = self._behind(words, *position, after_serial, now_ms)
        else:
            from_ms = max(1, (since_ms or 0) - OVERLAP_MS)
            found = self._sent_from(words, from_ms, after_serial, now_ms)
        if found is None:
            return Missed([], recovered=False, serial=self.serial, more=False)
        messages, more = fitting((one for one in found if not _outlived(one, now_ms)), max_bytes)
        return Missed(messages, True, messages[-1].serial if more else self.serial, more)

    def replay(
        self, after_serial: int, wanted: Callable[[str, int], bool], *, now_ms: int
    ) -> Replay:
        """Return what is held behind a serial and wanted, by topic and serial, in order."""
        newer = _newer(reversed(self.held), after_serial)
        lost = max(0, self.serial - after_serial - len(newer))
        again = [
            one for one in newer if wanted(one.topic, one.serial) and not _outlived(one, now_ms)
        ]
        return Replay(again, lost)

    @property
    def topics(self) -> int:
        """Count the topics that are known, with or without messages."""
        return len(self.known.states)

    @property
    def size(self) -> int:
        """Return the bytes of payload and metadata that are held."""
        return self.held.size

    def __len__(self) -> int:
        """Count the messages that are held."""
        return len(self.held)

    # ---- handing over ----------------------------------------------------------------------------

    def checkpoint(self) -> Iterator[HistoryReached | TopicReached]:
        """Yield what ``restore`` needs, in order; to be taken in one go."""
        return self.known.checkpoint(self.serial, self.sent_at_ms)

    def restore(self, record: HistoryReached | TopicReached) -> None:
        """Begin where a checkpoint ends. The messages before it are absent until ``fill``."""
        if isinstance(record, TopicReached):
            self.known.restore(record, self.serial)
            return
        self.serial, self.sent_at_ms = record.serial, record.sent_at_ms
        self.epoch = record.epoch
        self.began(record.evicted_ms + 1)

    def began(self, at_ms: int) -> None:
        """What was sent before this stamp is not known here."""
        self.known.lost_ms = max(self.known.lost_ms, at_ms - 1)

    def fill(self, older: "History") -> None:
        """Put what was read of the log before the checkpoint under what is held, once.

        ``older`` began empty and was given all that the log has up to the checkpoint, from its
        beginning, or else from a stamp that ``older`` was told with ``began``.
        """
        for message in reversed(older.held):
            if self.known.awaits(message, self._first(message.topic)):
                self.held.put_below(message)
        self.known.join(older.known)
        self.sweep(self.sent_at_ms)
        self._trim_partition()

    # ---- looking up and dropping -----------------------------------------------------------------

    def _first(self, topic: str) -> int:
        """Return the lowest offset that is held; the next one, if none is."""
        held = self.held.of(topic)
        return held[0].offset if held else self.known.reached(topic)[1] + 1

    def _behind(
        self, words: Words, epoch: str, offset: int, after_serial: int, now_ms: int
    ) -> list[Published] | None:
        """Return what came behind a position; None if any of it is lacking."""
        topic = ".".join(words)
        self._trim(topic, now_ms)
        reached, top = self.known.reached(topic)
        if self._is_off(words) or epoch != reached or offset > top:
            return None
        if self._first(topic) > offset + 1 and not self.known.lost_by(topic, after_serial):
            return None
        newer = _newer(reversed(self.held.of(topic)), after_serial)
        return [one for one in newer if one.offset > offset]

    def _sent_from(
        self, words: Words, from_ms: int, after_serial: int, now_ms: int
    ) -> list[Published] | None:
        """Return what was sent from a stamp on; None if any of it is lacking."""
        if self._is_off(words) or self.known.lost_ms >= from_ms:
            return None
        met = set()
        for topic, state in self.known.spoken_on(words, from_ms):
            self._trim(topic, now_ms)
            if state.lacks(from_ms, after_serial):
                return None
            met.add(topic)
        source = self.held if len(met) > 1 else self.held.of("".join(met))
        return [one for one in _newer(reversed(source), after_serial, from_ms) if one.topic in met]

    def _is_off(self, words: Words) -> bool:
        """Whether some topic that meets these words has no history."""
        if has_wildcard(words):
            return not self._keeps_all(words)
        return self._retention(".".join(words)).messages == 0

    def _trim(self, topic: str, now_ms: int) -> None:
        """Hold of a topic no more than its retention allows."""
        kept, held = self._retention(topic), self.held.of(topic)
        expired_ms = now_ms - kept.seconds * 1000
        while held and (
            len(held) > kept.messages
            or held[0].sent_at_ms <= expired_ms
            or self.held.size_of(topic) > self._bounds.topic_size
        ):
            self.known.evicted(self.held.drop(topic))

    def _trim_partition(self) -> None:
        while self.size > self._bounds.size or len(self) > self._bounds.messages:
            self.known.evicted(self.held.drop(self.held.oldest().topic))
        if self.topics > self._bounds.topics:
            spare = self._bounds.topics // 10  # many at once, for it changes the epoch
            for topic in self.known.forget(self.topics - self._bounds.topics + spare):
                self.held.drop_all(topic)


def _outlived(message: Published, now_ms: int) -> bool:
    """Whether a message's own time is over (X3): it is left out, and nobody lacks it."""
    if not message.message_id:  # it is only the place of one that was erased
        return True
    return message.ttl is not None and now_ms >= message.sent_at_ms + message.ttl * 1000


def _newer(newest_first: Iterator[Published], serial: int, from_ms: int = 0) -> list[Published]:
    """Return in order what came behind a serial and was sent from a stamp on."""
    newer = takewhile(lambda one: one.serial > serial and one.sent_at_ms >= from_ms, newest_first)
    return list(newer)[::-1]
