"""One WebSocket as the rest of the node sees it."""

from collections.abc import Callable

from gateway.core.session import Session
from gateway.outbox import Outbox, Written, text_frame
from shared.errors import ServiceError, SlowConsumer
from shared.messages.envelopes import SNAPSHOT_LIMIT, DirectDelivery, Opened
from shared.recent import Recent

REMEMBERED_MESSAGES = 256


class Connection:
    """A client's socket, with what was already sent on it."""

    def __init__(
        self, session: Session, outbox: Outbox, end: Callable[[ServiceError], None]
    ) -> None:
        self.session = session
        self.id = session.connection_id
        self.user_id = session.identity.user_id
        self.welcomed = False
        self.held: list[DirectDelivery] = []
        """Direct messages that came before the Welcome was written (S7)."""

        self.snapshot_left = 0
        self._outbox = outbox
        self._end = end
        self._seen: Recent[str, None] = Recent(REMEMBERED_MESSAGES)

    @property
    def opened(self) -> Opened:
        """This connection as presence knows it."""
        return Opened(self.user_id, self.id, self.session.identity.presence, self.welcomed)

    def write(self, frame: bytes) -> bool:
        """Write a finished frame; return whether the socket has it now (A5)."""
        return self._hand_over(frame) is Written.SENT

    def _hand_over(self, frame: bytes) -> Written:
        try:
            return self._outbox.write(frame)
        except SlowConsumer as error:
            self.end(error)
            return Written.GONE

    def reply(self, frames: list[bytes]) -> None:
        """Write JSON messages."""
        if frames:
            self.write(b"".join(text_frame(one) for one in frames))

    def write_direct(self, message_id: str, frame: bytes) -> bool:
        """Write a direct message unless it was written before; return whether it is on its way.

        What a slow reader's transport holds counts here: to hand it back would double it.
        """
        if message_id in self._seen:
            return True
        if self._hand_over(frame) is Written.GONE:
            return False
        self._seen.put(message_id, None)
        return True

    def expect_snapshot(self) -> None:
        """Let a presence snapshot through, up to its limit."""
        self.snapshot_left = SNAPSHOT_LIMIT

    def end(self, error: ServiceError) -> None:
        """Have this conversation ended, with the error's close code."""
        self._end(error)

    def let_go(self) -> None:
        """Leave the socket to be closed; drop it if the client has not read all."""
        if self._outbox.holds_back:
            self._outbox.abort()

    def abort(self) -> None:
        """Drop the socket without waiting for the client."""
        self._outbox.abort()
