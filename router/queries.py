"""What is asked of a partition's history, and the answers; asked too early, they wait."""

from collections.abc import Iterator
from typing import TypeAlias

from router.core.history import History
from router.core.interest_table import InterestTable
from router.core.namespaces import Namespaces
from router.core.retention import blank
from shared.messages.answers import HistoryPage, Recovered
from shared.messages.deliveries import ReplayEnded, TopicDelivery
from shared.messages.envelopes import EraseUser, HistoryAsked, RecoveryAsked, ReplayAsked, Sender
from shared.messages.records import Published, UserErased
from shared.recent import Recent
from shared.topics.pattern import parse_pattern

MAX_HELD = 10_000
MAX_ERASED = 10_000
MARGIN_MS = 60_000
"""By how much clocks may differ when older messages are looked for."""

Query: TypeAlias = HistoryAsked | RecoveryAsked | ReplayAsked | EraseUser


class Queries:
    """Answers what is asked of the history, once that is whole."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.history = namespaces.history()
        self._namespaces = namespaces
        self._older: History | None = None
        self._held: list[tuple[Sender, str, Query]] = []
        self.erased: Recent[str, UserErased] = Recent(MAX_ERASED)
        """Users of whom the log may still hold what they said."""

    @property
    def ready(self) -> bool:
        """Whether all that history should hold has been read."""
        return self._older is None

    def begin(self, log: str, now_ms: int, *, whole: bool) -> int | None:
        """Begin to serve; return from when on older messages are wanted, if any are."""
        self.history.epoch = self.history.epoch or log
        if whole:
            return None
        since_ms = now_ms - self._namespaces.longest_ms - MARGIN_MS
        self._older = self._namespaces.history()
        self._older.began(since_ms)
        return since_ms

    def replay_older(self, published: Published) -> None:
        """Take in a message from before the last checkpoint."""
        if self._older is None:
            return
        erased = self.erased.get(published.from_user)
        if erased is not None and published.serial <= erased.serial:
            published = blank(published)
        self._older.append(published, published.sent_at_ms)

    def filled(self) -> list[tuple[Sender, str, Query]]:
        """Make the history whole; return what was asked meanwhile."""
        if self._older is not None:
            self.history.fill(self._older)
        held, self._held, self._older = self._held, [], None
        return held

    def hold(self, sender: Sender, answers: str, command: Query) -> None:
        """Keep a question for later; there is a bound, and whoever asked will give up anyway."""
        if len(self._held) < MAX_HELD:
            self._held.append((sender, answers, command))

    def erase(self, erased: UserErased) -> int:
        """Drop what a user has said; return how many messages."""
        self.erased.put(erased.user_id, erased)
        return self.history.erase(erased.user_id, erased.serial)

    def sweep(self, now_ms: int) -> None:
        """Let go what history may not hold any longer."""
        self.history.sweep(now_ms)
        over_ms = now_ms - self._namespaces.longest_ms - MARGIN_MS
        for user_id in [one for one, erased in self.erased.items() if erased.at_ms < over_ms]:
            del self.erased[user_id]

    def answer(self, command: HistoryAsked | RecoveryAsked, now_ms: int) -> HistoryPage | Recovered:
        """Answer a client's question (H1, H3)."""
        if isinstance(command, HistoryAsked):
            page = self.history.page(
                command.topic,
                limit=command.limit,
                after=command.after,
                before=command.before,
                reverse=command.reverse,
                now_ms=now_ms,
            )
            messages = [delivery_of(one) for one in page.messages]
            return HistoryPage(command.ask, page.epoch, page.offset, page.complete, messages)
        missed = self.history.missed(
            parse_pattern(command.pattern),
            since_ms=command.since_ms,
            position=command.position,
            after_serial=command.after_serial,
            now_ms=now_ms,
            max_bytes=command.max_bytes,
        )
        messages = [delivery_of(one, replayed=True) for one in missed.messages]
        return Recovered(command.ask, missed.recovered, missed.serial, missed.more, messages)

    def replay(
        self, command: ReplayAsked, table: InterestTable, node_id: str, now_ms: int
    ) -> Iterator[TopicDelivery | ReplayEnded]:
        """Yield what a node may have missed."""
        wanted = table.missed_by(node_id)
        replay = self.history.replay(command.after_serial, wanted, now_ms=now_ms)
        for published in replay.messages:
            yield delivery_of(published, replayed=True)
        yield ReplayEnded(command.ask, replay.lost)


def delivery_of(published: Published, *, replayed: bool = False) -> TopicDelivery:
    """Return what a node needs to write a message to those who want it."""
    return TopicDelivery(
        process=published.process,
        number=published.number,
        message_id=published.message_id,
        topic=published.topic,
        payload=published.payload,
        metadata=published.metadata,
        from_user=published.from_user,
        sent_at_ms=published.sent_at_ms,
        form=published.form,
        ask="",
        report_to="",
        except_connection=published.except_connection,
        serial=published.serial,
        epoch=published.epoch,
        offset=published.offset,
        replayed=replayed,
    )
