"""``python -m tests.chaos.sabotage gateway lost``: a service with a broken promise.

It proves that the chaos suite sees what it looks for. Now and then a broadcast that is written to a
socket is left out, written twice, or written after the next one of its sender and topic.
"""

import json
import runpy
import sys
from collections import defaultdict
from collections.abc import Callable

from gateway.outbox import Outbox, Written

EVERY = 10

Lane = tuple[int, str, str]
"""A socket, a topic and a sender: within it there is an order."""

Write = Callable[[Outbox, bytes], Written]


class Sabotage:
    """Stands between the gateway and its sockets."""

    def __init__(self, honest: Write) -> None:
        self._honest = honest
        self._counts: dict[Lane, int] = defaultdict(int)
        self._held: dict[Lane, bytes] = {}

    def _is_due(self, lane: Lane | None) -> bool:
        if lane is None:
            return False
        self._counts[lane] += 1
        return self._counts[lane] % EVERY == 0

    def lost(self, outbox: Outbox, frame: bytes) -> Written:
        """Claim to have written what was not."""
        return Written.SENT if self._is_due(_lane(outbox, frame)) else self._honest(outbox, frame)

    def doubled(self, outbox: Outbox, frame: bytes) -> Written:
        """Write it twice."""
        if self._is_due(_lane(outbox, frame)):
            self._honest(outbox, frame)
        return self._honest(outbox, frame)

    def reordered(self, outbox: Outbox, frame: bytes) -> Written:
        """Write it after the next one."""
        lane = _lane(outbox, frame)
        if lane is not None and lane not in self._held and self._is_due(lane):
            self._held[lane] = frame
            return Written.SENT
        written = self._honest(outbox, frame)
        held = self._held.pop(lane, None) if lane is not None else None
        return written if held is None else self._honest(outbox, held)


def _lane(outbox: Outbox, frame: bytes) -> Lane | None:
    """Return to whose order a frame belongs; None if it is no broadcast."""
    try:
        message = json.loads(frame[frame.index(b"{") :])
        data = message["data"]
        return (id(outbox), data["topic"], data["metadata"]["from_user"])
    except (KeyError, ValueError):
        return None


def main(module: str, kind: str) -> None:
    """Break a promise, then run the service as if nothing were."""
    sabotage = Sabotage(Outbox.write)
    how: Write = {
        "lost": sabotage.lost,
        "doubled": sabotage.doubled,
        "reordered": sabotage.reordered,
    }[kind]

    def write(outbox: Outbox, frames: bytes) -> Written:
        return how(outbox, frames)

    Outbox.write = write  # type: ignore[method-assign, assignment]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
