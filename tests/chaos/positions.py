"""PURE: how far a client has come in its topics, so that it can say so when it returns (H3)."""

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.reading import covers

Position = dict[str, Any]


@dataclass
class Positions:
    """What a client remembers over its connections."""

    _began_ms: int = 0
    _held: dict[str, int] = field(default_factory=dict)
    """For each pattern that was confirmed, when its last message was sent."""

    _places: dict[str, Position] = field(default_factory=dict)

    def begin(self, server_time_ms: int) -> None:
        """Note the server's time at a Welcome: what is subscribed now begins no earlier."""
        self._began_ms = server_time_ms

    def hold(self, patterns: tuple[str, ...]) -> None:
        """Note that patterns were confirmed."""
        for pattern in patterns:
            self._held.setdefault(pattern, self._began_ms)

    def saw(self, topic: str, metadata: dict[str, Any]) -> None:
        """Note a broadcast."""
        for pattern in self._held:
            if covers(pattern, topic):
                self._held[pattern] = max(self._held[pattern], metadata["sent_at_ms"])
        if metadata.get("offset") is not None:
            self._places[topic] = {"offset": metadata["offset"], "epoch": metadata["epoch"]}

    def of(self, patterns: tuple[str, ...]) -> dict[str, Position]:
        """Return from where to recover each pattern that was confirmed before."""
        return {
            pattern: self._places.get(pattern, {"since": self._held[pattern]})
            for pattern in patterns
            if pattern in self._held
        }
