"""PURE: the messages that history holds, and what it knows of those that it does not (H2, H4)."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil

from msgspec.structs import replace

from shared.messages.records import HistoryReached, Published, TopicReached
from shared.topics.pattern import contains, has_wildcard

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retention:
    """What history holds of one topic (H4)."""

    messages: int
    """0 switches history off."""

    seconds: int


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one partition's history may hold, whatever the retention of its topics."""

    topic_size: int = 1_048_576
    """Bytes of payload and metadata."""

    size: int = 33_554_432
    """Bytes of payload and metadata, of all topics together."""

    messages: int = 100_000
    """Small messages cost memory that their bytes do not show."""

    topics: int = 100_000
    """How many topics' offsets are remembered, with or without messages."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the next kept message of a topic gets (H2)."""

    epoch: str
    offset: int
    serial: int


@dataclass(frozen=True, slots=True)
class Loss:
    """The last of some messages that are not held: what was sent later is not among them."""

    serial: int
    sent_at_ms: int

    def joined(self, other: "Loss") -> "Loss":
        """Return what covers both losses."""
        return Loss(max(self.serial, other.serial), max(self.sent_at_ms, other.sent_at_ms))

    def concerns(self, from_ms: int, after_serial: int) -> bool:
        """Whether a message from that time on, and behind that serial, may be lost."""
        return self.sent_at_ms >= from_ms and self.serial > after_serial


NOTHING = Loss(0, 0)


@dataclass(slots=True)
class TopicState:
    """How far a topic has come. It is small, and outlives the messages."""

    epoch: str
    offset: int
    sent_at_ms: int
    evicted: Loss = NOTHING
    """What retention has dropped."""

    absent: Loss = NOTHING
    """What was said before the checkpoint, and is not read yet: see ``History.fill``."""

    def lacks(self, from_ms: int, after_serial: int) -> bool:
        """Whether a message from that time on, and behind that serial, may not be held."""
        losses = (self.evicted, self.absent)
        return any(one.concerns(from_ms, after_serial) for one in losses)


class Topics:
    """How far every known topic has come; the one that was published on last comes last."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        """What topics that are not known begin with (H2)."""
        self.lost_ms = 0
        """Up to this stamp, messages of topics that are not known may be lost."""
        self.states: dict[str, TopicState] = {}

    def reached(self, topic: str) -> tuple[str, int]:
        """Return a topic's epoch, and the offset that it has come to."""
        state = self.states.get(topic)
        return (state.epoch, state.offset) if state else (self.epoch, 0)

    def advance(self, published: Published) -> bool:
        """Bring a topic to this message; return whether that follows what was held of it."""
        epoch, offset = published.epoch, published.offset
        state = self.states.pop(published.topic, None)  # to come last
        follows = state is not None and (epoch, offset) == (state.epoch, state.offset + 1)
        if state is None or not follows:
            state = TopicState(epoch, offset, 0, _lost_before(published, state))
            self.epoch = max(self.epoch, epoch, key=_generation)
        state.offset, state.sent_at_ms = offset, published.sent_at_ms
        self.states[published.topic] = state
        return follows

    def evicted(self, message: Published) -> None:
        """Retention has dropped this message."""
        state = self.states[message.topic]
        state.evicted = state.evicted.joined(Loss(message.serial, message.sent_at_ms))

    def forget(self, count: int) -> list[str]:
        """Forget those that were silent for longest; should one return, its epoch is another."""
        forgotten = list(islice(self.states, count))
        for topic in forgotten:
            self.lost_ms = max(self.lost_ms, self.states.pop(topic).sent_at_ms)
        log = self.epoch.partition(".")[0]
        self.epoch = f"{log}.{_generation(self.epoch) + 1}"
        return forgotten

    def lost_by(self, topic: str, serial: int) -> bool:
        """Whether all that a topic has lost is known to have come up to this serial."""
        state = self.states[topic]
        return 0 < max(state.evicted.serial, state.absent.serial) <= serial

    def spoken_on(self, words: Words, from_ms: int) -> Iterator[tuple[str, TopicState]]:
        """Yield the topics that meet these words and on which something was said since."""
        if not has_wildcard(words):
            topic = ".".join(words)
            if topic in self.states:
                yield topic, self.states[topic]
            return
        for topic, state in reversed(self.states.items()):
            if state.sent_at_ms < from_ms:
                return
            if contains(words, tuple(topic.split("."))):
                yield topic, state

    def checkpoint(self, serial: int, sent_at_ms: int) -> Iterator[HistoryReached | TopicReached]:
        """Yield what ``restore`` needs, of a partition that has come to this serial and stamp."""
        yield HistoryReached(serial, sent_at_ms, self.epoch, self.lost_ms)
        for topic, state in self.states.items():
            evicted_ms = state.evicted.sent_at_ms
            yield TopicReached(topic, state.epoch, state.offset, state.sent_at_ms, evicted_ms)

    def restore(self, record: TopicReached, serial: int) -> None:
        """Learn how far a topic had come when its partition had come to this serial."""
        state = TopicState(record.epoch, record.offset, record.sent_at_ms)
        state.absent = Loss(serial, record.sent_at_ms)
        if record.evicted_ms:
            state.evicted = Loss(serial, record.evicted_ms)
        self.states[record.topic] = state

    def awaits(self, message: Published, first: int) -> bool:
        """Whether a message is absent, and is the one below the first offset that is held."""
        state = self.states.get(message.topic)
        return (
            state is not None
            and message.serial <= state.absent.serial
            and (message.epoch, message.offset) == (state.epoch, first - 1)
        )

    def join(self, older: "Topics") -> None:
        """Nothing is absent any more; what older ones know to be lost is."""
        self.lost_ms = max(self.lost_ms, older.lost_ms)
        for topic, state in self.states.items():
            if state.absent != NOTHING and topic in older.states:
                state.evicted = state.evicted.joined(older.states[topic].evicted)
            state.absent = NOTHING


def _lost_before(published: Published, state: TopicState | None) -> Loss:
    """Return what a topic loses that begins anew with this message."""
    if state is None:
        return NOTHING
    lost_ms = state.sent_at_ms if published.offset == 1 else published.sent_at_ms
    return Loss(published.serial - 1, lost_ms)


def _generation(epoch: str) -> int:
    """Return how often topics had been forgotten when this epoch began."""
    return int(epoch.partition(".")[2] or 0) if epoch else -1


@dataclass(slots=True)
class _Shelf:
    """One topic's messages; their offsets have no gap."""

    messages: deque[Published] = field(default_factory=deque)
    size: int = 0


class Held:
    """The messages of a partition in the order of their serials; by topic, and by id.

    A topic loses its oldest message first.
    """

    def __init__(self) -> None:
        self.size = 0
        """Bytes of payload and metadata."""
        self._by_serial: OrderedDict[int, Published] = OrderedDict()
        self._by_topic: dict[str, _Shelf] = {}
        self._by_id: dict[tuple[str, str], Published] = {}

    def put(self, message: Published) -> None:
        """Take in a message that is newer than all others."""
        self._shelf(message).messages.append(message)
        self._by_serial[message.serial] = message
        self._by_id[message.topic, message.message_id] = message

    def put_below(self, message: Published) -> None:
        """Take in a message that is older than all others."""
        self._shelf(message).messages.appendleft(message)
        self._by_serial[message.serial] = message
        self._by_serial.move_to_end(message.serial, last=False)
        self._by_id.setdefault((message.topic, message.message_id), message)

    def _shelf(self, message: Published) -> _Shelf:
        shelf = self._by_topic.get(message.topic)
        if shelf is None:
            shelf = self._by_topic[message.topic] = _Shelf()
        size = size_of(message)
        shelf.size += size
        self.size += size
        return shelf

    def drop(self, topic: str) -> Published:
        """Take the topic's oldest message out."""
        shelf = self._by_topic[topic]
        message = shelf.messages.popleft()
        shelf.size -= size_of(message)
        self.size -= size_of(message)
        if not shelf.messages:
            del self._by_topic[topic]
        del self._by_serial[message.serial]
        if self._by_id.get((topic, message.message_id)) is message:
            del self._by_id[topic, message.message_id]
        return message

    def drop_all(self, topic: str) -> None:
        """Take all messages of a topic out."""
        while topic in self._by_topic:
            self.drop(topic)

    def blank(self, user_id: str, serial: int) -> int:
        """Empty what a user has said up to a serial; return how many messages that were.

        They keep their places, for offsets have no gap.
        """
        said = [
            (shelf, at, message)
            for shelf in self._by_topic.values()
            for at, message in enumerate(shelf.messages)
            if message.from_user == user_id and message.serial <= serial
        ]
        for shelf, at, message in said:
            shelf.messages[at] = self._by_serial[message.serial] = blank(message)
            shelf.size -= size_of(message)
            self.size -= size_of(message)
            self._by_id.pop((message.topic, message.message_id), None)
        return len(said)

    def find(self, topic: str, message_id: str) -> Published | None:
        """Return the message with this id; the last one, if it was published twice."""
        return self._by_id.get((topic, message_id))

    def of(self, topic: str) -> Sequence[Published]:
        """Return a topic's messages, oldest first."""
        shelf = self._by_topic.get(topic)
        return shelf.messages if shelf else ()

    def size_of(self, topic: str) -> int:
        """Return the bytes that a topic's messages count for."""
        shelf = self._by_topic.get(topic)
        return shelf.size if shelf else 0

    def topics(self) -> list[str]:
        """Return the topics that messages are held of."""
        return list(self._by_topic)

    def oldest(self) -> Published:
        """Return the message with the lowest serial."""
        return next(iter(self._by_serial.values()))

    def __reversed__(self) -> Iterator[Published]:
        """Newest first."""
        return reversed(self._by_serial.values())

    def __len__(self) -> int:
        return len(self._by_serial)


FRAME_BYTES = 400
"""What a message takes in a page at most, beside its payload, metadata and topic."""


def size_of(message: Published) -> int:
    """Return the bytes that a message counts for."""
    return len(message.payload) + len(message.metadata)


def blank(message: Published) -> Published:
    """Return the empty place of a message, which is given to nobody: its time is over."""
    return replace(message, message_id="", payload=b"", metadata=b"", from_user="", ttl=0.0)


def fitting(messages: Iterable[Published], max_bytes: int) -> tuple[list[Published], bool]:
    """Return as many messages as fit, but always one; and whether there are more."""
    taken: list[Published] = []
    size = 0
    for message in messages:
        size += _page_size(message)
        if taken and size > max_bytes:
            return taken, True
        taken.append(message)
    return taken, False


def _page_size(message: Published) -> int:
    """Return the bytes that a message takes in a page at most: a binary one is base64 there."""
    body = len(message.payload)
    if message.form.is_binary:
        body = 4 * ceil(body / 3)
    return body + len(message.metadata) + len(message.topic) + FRAME_BYTES
