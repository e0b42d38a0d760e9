"""PURE: the cluster as its leases and heartbeats show it, as a table."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.messages.news import Heartbeat, Lease, LeaseEnded, News

GONE_SECONDS = 5.0
"""After so long without a word a line is marked; after twice as long it goes."""

RATE_SECONDS = 0.5
"""The shortest time from which a rate is told."""

COLUMNS = ("NODE", "ROLE", "CONNECTIONS", "PARTITIONS", "IN/S", "OUT/S", "SEEN")


@dataclass
class Line:
    """One process of the cluster."""

    node: str
    role: str
    seen_at: float
    counted_at: float | None = None
    connections: str = ""
    partitions: str = ""
    taken: int = 0
    given: int = 0
    taken_rate: float = 0.0
    given_rate: float = 0.0

    def count(self, taken: int, given: int, now: float) -> None:
        """Turn two counts, and the time since the last ones, into rates."""
        self.seen_at = now
        if self.counted_at is not None:
            seconds = now - self.counted_at
            if seconds < RATE_SECONDS:
                return
            self.taken_rate = max(0.0, (taken - self.taken) / seconds)
            self.given_rate = max(0.0, (given - self.given) / seconds)
        self.taken, self.given, self.counted_at = taken, given, now


@dataclass
class Overview:
    """What was heard of every process; times are monotonic, in seconds."""

    _lines: dict[str, Line] = field(default_factory=dict)

    def hear(self, news: News, now: float) -> None:
        """Take in what a gateway or a replica says of itself."""
        match news:
            case Lease(sender=sender):
                line = self._line(sender.process, sender.node_id, "gateway", now)
                line.connections = str(news.connections)
                line.count(news.commands, news.deliveries, now)
            case Heartbeat():
                line = self._line(news.replica, news.node_id, news.service, now)
                line.partitions = f"{len(news.terms)} of {len(news.terms) + len(news.standing_by)}"
                line.count(news.performed, 0, now)
            case LeaseEnded(sender=sender):
                self._lines.pop(sender.process, None)

    def _line(self, process: str, node: str, role: str, now: float) -> Line:
        return self._lines.setdefault(process, Line(node, role, now))

    def table(self, now: float) -> str:
        """Return one line for each process that was heard of lately, aligned."""
        rows = [COLUMNS, *self._rows(now)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def _rows(self, now: float) -> Iterator[tuple[str, ...]]:
        for process, line in list(self._lines.items()):
            if now - line.seen_at > 2 * GONE_SECONDS:
                del self._lines[process]
        for line in sorted(self._lines.values(), key=lambda one: (one.role, one.node)):
            silent = now - line.seen_at
            yield (
                line.node,
                line.role,
                line.connections,
                line.partitions,
                f"{line.taken_rate:.0f}",
                f"{line.given_rate:.0f}" if line.role == "gateway" else "",
                "now" if silent < GONE_SECONDS else f"{silent:.0f} s ago",
            )
