"""PURE: how long what is said on a topic is kept (protocol decision H4)."""

from collections.abc import Mapping
from functools import lru_cache

from router.core.history import History
from router.core.retention import Retention
from shared.topics.pattern import contains, overlaps, parse_pattern

OFF = Retention(messages=0, seconds=0)


class Namespaces:
    """Retention by pattern: the first that meets a topic decides; if none does, nothing is kept."""

    def __init__(self, retentions: Mapping[str, Retention]) -> None:
        self._retentions = [(parse_pattern(text), one) for text, one in retentions.items()]
        self.of = lru_cache(maxsize=10_000)(self._of)

    def _of(self, topic: str) -> Retention:
        words = tuple(topic.split("."))
        return next((one for pattern, one in self._retentions if contains(pattern, words)), OFF)

    def keep(self, topic: str) -> bool:
        """Whether what is said on a topic is kept at all."""
        return self.of(topic).messages > 0

    @property
    def longest_ms(self) -> int:
        """Return how long anything is kept, at most."""
        return max((one.seconds for _, one in self._retentions), default=0) * 1000

    def history(self) -> History:
        """Return an empty history that keeps what it should."""
        return History(self.of, keeps_all=self._keep_all)

    def _keep_all(self, pattern: tuple[str, ...]) -> bool:
        """Whether every topic that meets a pattern is kept."""
        for namespace, one in self._retentions:
            if not one.messages and overlaps(namespace, pattern):
                return False
            if one.messages and contains(namespace, pattern):
                return True
        return False
