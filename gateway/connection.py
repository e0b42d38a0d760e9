"""One WebSocket as the rest of the node sees it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.core.session import Session
from gateway.core.wire import text_frame, topic_frame
from gateway.gathered import Bundle
from gateway.handover import Handover
from gateway.outbox import GONE, SENT, Outbox
from gateway.past import Past, Replay
from gateway.unconfirmed import Unconfirmed
from shared.errors import ServiceError, SlowConsumer
from shared.messages.deliveries import TopicDelivery
from shared.messages.envelopes import SNAPSHOT_LIMIT, Opened
from shared.messages.frames import status


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a connection calls of its node; one for all, for they are many."""

    lapse: "Callable[[Connection, Handover], None]"
    """The client has not confirmed a direct message in time."""

    sent: Callable[[int], object]
    """So many bytes were written."""

    catch_up: "Callable[[Connection], None]"
    """Something else is about to be written than what was gathered for it."""


class Connection:
    """A client's socket, with what was already sent on it."""

    def __init__(
        self,
        session: Session,
        outbox: Outbox,
        end: Callable[[ServiceError], None],
        hooks: Hooks,
        *,
        confirms: bool = False,
        takes_compressed: bool = False,
    ) -> None:
        self.session = session
        self.id = session.connection_id
        self.user_id = session.identity.user_id
        self.opened_at = time.monotonic()
        self.welcomed = False
        self.held: list[Handover] = []
        """Direct messages that came before the Welcome was written (S7)."""

        self.confirms = confirms
        """Whether the client confirms direct messages (R2)."""

        self.plain = not takes_compressed
        """Whether each broadcast may be written as it is, not compressed, and without a look."""

        self.ended = False
        """Whether it is being closed: it is given nothing more, and nothing it asks is taken up."""

        self.has_lapsed = False
        """Whether it has let a message pass that now waits elsewhere."""

        self.snapshot_left = 0
        self.shed = 0
        """Broadcasts that were not written because it lagged, and that it was not told of (X3)."""

        self._takes_compressed = takes_compressed
        self._looks = False
        """Whether not each broadcast may be written: it is being closed, or was replayed some."""

        self._outbox = outbox
        self._end = end
        self._hooks = hooks
        self._replay: Replay | None = None
        self._remembers: Past | None = None

    @property
    def _past(self) -> Past:
        """Made when it is asked for: of most connections nobody ever asks."""
        if self._remembers is None:
            self._remembers = Past(unconfirmed=Unconfirmed(partial(self._hooks.lapse, self)))
        return self._remembers

    @property
    def unconfirmed(self) -> Unconfirmed:
        """The direct messages that the client has not confirmed."""
        return self._past.unconfirmed

    def unserved(self) -> list[Handover]:
        """Return the direct messages that it was written but has not confirmed, oldest first."""
        return [] if self._remembers is None else list(self._remembers.unconfirmed)

    def give_up(self) -> list[Handover]:
        """Wait for no word of the client any more; return what it has not confirmed."""
        return [] if self._remembers is None else list(self._remembers.unconfirmed.clear())

    def spare(self, message_id: str) -> None:
        """Note a broadcast that is not written here because the client lags (X3)."""
        self._past.spared.put(message_id, None)
        self.shed += 1

    def tell_shed(self) -> None:
        """Tell the client how many broadcasts it was spared, once it has caught up."""
        if self._outbox.caught_up and not self.ended:
            shed, self.shed = self.shed, 0
            self.reply([status("shed", {"messages": shed})])

    @property
    def opened(self) -> Opened:
        """This connection as presence knows it."""
        presence, issued_at = self.session.identity.presence, self.session.identity.issued_at
        return Opened(self.user_id, self.id, presence, self.welcomed, int((issued_at or 0) * 1000))

    def write(self, frame: bytes) -> bool:
        """Write a finished frame that is for this client alone; return whether it is on its way.

        Its bytes are counted here; those of what many are given, by whoever gives it.
        """
        if is_on_its_way := self._hand_over(frame):
            self._hooks.sent(len(frame))
        return is_on_its_way

    def put(self, frames: bytes) -> bool:
        """Write broadcasts without a look; return whether the socket has them now (A5)."""
        try:
            return self._outbox.write(frames) is SENT
        except SlowConsumer as error:
            self.end(error)
            return False

    def give(self, bundle: Bundle) -> None:
        """Write of these broadcasts what must come now, and note what the socket has not (A5)."""
        now = bundle
        if self._looks:
            now = Bundle([one for one in bundle.of if self._takes(one.delivery, one.frame)])
        is_there = bool(now.of) and self.put(self._fitting(now))
        for one in bundle.of:
            one.lacking += not (is_there and one in now.of)

    def _fitting(self, bundle: Bundle) -> bytes:
        if not self._takes_compressed:
            return bundle.frames
        for one in bundle.of:
            one.saved += len(one.frame) - len(one.compressed)
        return bundle.compressed

    def _look(self, *, always: bool) -> None:
        """Look at each broadcast from here on before it is written, or no more."""
        self._looks = always
        self.plain = not always and not self._takes_compressed

    def _takes(self, delivery: TopicDelivery, frame: bytes) -> bool:
        """Whether a broadcast may be written; while something that was missed comes, later (H3)."""
        if self.ended:
            return False
        if self._replay is None or delivery.audience is not None:
            return delivery.audience is not None or self._follow(delivery)
        self._replay.later.append((delivery, frame))
        self._replay.size += len(frame)
        if self._replay.size > self._outbox.limit and len(self._replay.later) > 1:
            self.end(SlowConsumer())
        return False

    def _follow(self, delivery: TopicDelivery) -> bool:
        """Note a broadcast; return whether the client has it not, by a replay that overtook it."""
        if delivery.offset and self._past.broadcasts.has(delivery):
            return False
        self._past.broadcasts.follow(delivery)
        return True

    def begin_replay(self) -> None:
        """Keep broadcasts back until as many replays have ended as were begun."""
        self._hooks.catch_up(self)
        self._look(always=True)
        self._replay = self._replay or Replay(time.monotonic())
        self._replay.running += 1

    def goes_on(self, topic: str, epoch: str, offset: int) -> None:
        """Learn that the client has all of a topic up to here, and gets all that follows."""
        self._hooks.catch_up(self)
        self._look(always=True)
        self._past.broadcasts.claim(topic, epoch, offset)

    def write_missed(
        self, deliveries: list[TopicDelivery], given_at: Callable[[str], float | None]
    ) -> None:
        """Write what a replay brings, but for what was written here before.

        ``given_at`` tells when this node has written a broadcast, by its id.
        """
        written = self._past.broadcasts
        missed = [one for one in deliveries if not written.covers(one)]
        for one in missed:
            written.add(one)
        self._write_all(
            [
                topic_frame(one)
                for one in missed
                if one.except_connection != self.id
                and not self._came_live(one, given_at(one.message_id))
            ]
        )

    def _came_live(self, delivery: TopicDelivery, at: float | None) -> bool:
        """Whether what the node has written then was written here: not kept back, nor shed."""
        if at is None or self._replay is None or at >= self._replay.began_at:
            return False
        written = delivery.message_id not in self._past.spared
        return written and self.session.wanted(delivery.topic, at)

    def end_replay(self, wanted: Callable[[TopicDelivery], bool]) -> None:
        """Write of what was kept back what is still wanted, and go on as usual."""
        if self._replay is None:
            return
        self._replay.running -= 1
        if self._replay.running:
            return
        replay, self._replay = self._replay, None
        if later := [frame for one, frame in replay.later if wanted(one) and self._follow(one)]:
            self._hand_over(b"".join(later))
        self._look(always=self.ended or bool(self._past.broadcasts))

    @property
    def lags(self) -> bool:
        """Whether the client reads so slowly that low priority is shed (X3)."""
        return self._outbox.lags

    @property
    def held_back(self) -> int:
        """How many bytes the transport holds that the client has not read."""
        return self._outbox.held_back

    @property
    def taken(self) -> int:
        """How many bytes the client has taken, or the kernel for it."""
        return self._outbox.taken

    async def drained(self) -> None:
        """Wait until the client has caught up."""
        await self._outbox.drained()

    def _hand_over(self, frame: bytes) -> bool:
        self._hooks.catch_up(self)
        try:
            return self._outbox.write(frame) is not GONE
        except SlowConsumer as error:
            self.end(error)
            return False

    def reply(self, frames: list[bytes]) -> None:
        """Write JSON messages."""
        self._write_all([text_frame(one) for one in frames])

    def _write_all(self, frames: list[bytes]) -> None:
        if frames:
            self.write(b"".join(frames))

    def write_direct(self, message_id: str, frame: bytes) -> bool:
        """Write a direct message unless it was written before; return whether it is on its way.

        What a slow reader's transport holds counts here: to hand it back would double it.
        """
        if message_id in self._past.directs:
            return True
        if is_written := self.write(frame):
            self._past.directs.put(message_id, None)
        return is_written

    def was_written(self, message_id: str) -> bool:
        """Whether this direct message was written here, as far as is remembered."""
        return message_id in self._past.directs or self.unconfirmed.knows(message_id)

    def expect_snapshot(self) -> None:
        """Let a presence snapshot through, up to its limit."""
        self.snapshot_left = SNAPSHOT_LIMIT

    def finish(self) -> None:
        """Be given nothing more: it is being closed."""
        self._hooks.catch_up(self)
        self.ended = True
        self._look(always=True)

    def end(self, error: ServiceError) -> None:
        """Have this conversation ended, with the error's close code."""
        self._end(error)

    def let_go(self) -> None:
        """Leave the socket to be closed; drop it if the client has not read all."""
        if self._outbox.held_back:
            self._outbox.abort()

    def abort(self) -> None:
        """Drop the socket without waiting for the client."""
        self._outbox.abort()
