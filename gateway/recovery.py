"""What a client has missed of what it subscribes to, page by page as its socket drains (H3, H4)."""

import asyncio
from dataclasses import dataclass

import structlog
from ulid import ULID

from gateway.connection import Connection
from gateway.node import Node
from shared.errors import BrokerUnavailable, OutcomeUnknown, ReplayBroken, SlowConsumer
from shared.messages.answers import Recovered
from shared.messages.client import RecoverFrom
from shared.messages.envelopes import RecoveryAsked

log = structlog.get_logger()


MAX_BYTES = 1_048_576
"""What one recovery holds at a time, as far as its pages can be made smaller."""

MIN_PAGE_BYTES = 16_384


@dataclass
class Source:
    """One partition's part of what was missed of one pattern."""

    pattern: str
    start: RecoverFrom
    partition: int
    page: Recovered | None = None


class Recovery:
    """The replay that comes with one subscription.

    From its making on the connection's broadcasts are kept back, so that they come after it.
    """

    def __init__(self, node: Node, connection: Connection, wanted: dict[str, RecoverFrom]) -> None:
        self._node = node
        self._connection = connection
        self._sources = [
            Source(pattern, start, partition)
            for pattern, start in wanted.items()
            for partition in node.uplink.partitions_of(pattern)
        ]
        self._holds = bool(wanted)
        if wanted:
            connection.begin_replay()

    async def begin(self) -> dict[str, bool]:
        """Return for each pattern whether all that was missed of it will be replayed.

        Raises:
            OutcomeUnknown: not all owners have answered in time.
            BrokerUnavailable: not all could be asked.
        """
        await asyncio.gather(*(self._turn_page(source) for source in self._sources))
        recovered: dict[str, bool] = {}
        for source in self._sources:
            whole = source.page is not None and source.page.recovered
            recovered[source.pattern] = recovered.get(source.pattern, True) and whole
        self._sources = [one for one in self._sources if recovered[one.pattern]]
        for source in self._sources:
            start = source.start
            if start.offset is not None:
                self._connection.goes_on(source.pattern, start.epoch or "", start.offset)
        return recovered

    async def replay(self) -> None:
        """Write it all, then what was kept back meanwhile."""
        try:
            for source in self._sources:
                await self._read(source)
            await self._connection.drained()
        except (BrokerUnavailable, OutcomeUnknown, SlowConsumer) as error:
            log.info("replay broken", action="end", connection=self._connection.id)
            self._connection.end(error if isinstance(error, SlowConsumer) else ReplayBroken())
        finally:
            self.stop()

    def stop(self) -> None:
        """Go on with what comes now."""
        if not self._holds:
            return
        self._holds = False
        wanting = self._node.subscriptions.wanting
        self._connection.end_replay(lambda one: self._connection in wanting(one.topic))

    async def _read(self, source: Source) -> None:
        while source.page is not None and source.pattern in self._connection.session.patterns:
            await self._connection.drained()
            self._connection.write_missed(source.page.messages, self._node.fanout.given_at)
            if not source.page.more:
                return
            await self._turn_page(source)
            if not source.page.recovered:
                raise BrokerUnavailable("History has moved on")

    async def _turn_page(self, source: Source) -> None:
        start = source.start
        command = RecoveryAsked(
            ask=f"recovery_{ULID()}",
            pattern=source.pattern,
            since_ms=start.since,
            position=None if start.offset is None else (start.epoch or "", start.offset),
            after_serial=source.page.serial if source.page else 0,
            max_bytes=max(MIN_PAGE_BYTES, MAX_BYTES // len(self._sources)),
        )
        self._node.uplink.ask_missed(source.partition, command)
        page = await self._node.answers.one(command.ask)
        source.page = page if isinstance(page, Recovered) else None
