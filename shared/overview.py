"""PURE: the cluster as its leases and heartbeats show it."""

from dataclasses import dataclass, field

from shared.messages.news import Heartbeat, Lease, LeaseEnded, News

GONE_SECONDS = 10.0
"""After so long without a word a process is taken for gone."""

RATE_SECONDS = 0.5
"""The shortest time from which a rate is told."""

GATEWAY = "gateway"


@dataclass
class Process:
    """One process of the cluster; a gateway has connections, a replica partitions."""

    node: str
    role: str
    seen_at: float
    release: str = ""
    counted_at: float | None = None
    connections: int = 0
    serves: frozenset[int] = frozenset()
    stands_by: frozenset[int] = frozenset()
    taken: int = 0
    given: int = 0
    taken_rate: float = 0.0
    given_rate: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    draining: bool = False

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

    _processes: dict[str, Process] = field(default_factory=dict)

    def hear(self, news: News, now: float) -> None:
        """Take in what a gateway or a replica says of itself."""
        match news:
            case Lease(sender=sender):
                process = self._process(sender.process, sender.node_id, GATEWAY, now)
                process.release = news.release
                process.connections = news.connections
                process.p50_ms, process.p99_ms = news.p50_ms, news.p99_ms
                process.draining = news.draining
                process.count(news.commands, news.deliveries, now)
            case Heartbeat():
                process = self._process(news.replica, news.node_id, news.service, now)
                process.release = news.release
                process.serves = frozenset(news.terms)
                process.stands_by = frozenset(news.standing_by)
                process.count(news.performed, 0, now)
            case LeaseEnded(sender=sender):
                self._processes.pop(sender.process, None)

    def _process(self, name: str, node: str, role: str, now: float) -> Process:
        return self._processes.setdefault(name, Process(node, role, now))

    def processes(self, now: float) -> list[Process]:
        """Return those that were heard of lately, by role and node."""
        for name, process in list(self._processes.items()):
            if now - process.seen_at > GONE_SECONDS:
                del self._processes[name]
        return sorted(self._processes.values(), key=lambda one: (one.role, one.node))
