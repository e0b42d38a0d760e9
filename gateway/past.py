"""What a connection was given, as far as that matters to what comes again."""

from dataclasses import dataclass, field
from functools import partial

from gateway.core.stretches import Stretches
from gateway.unconfirmed import Unconfirmed
from shared.messages.deliveries import TopicDelivery
from shared.recent import Recent

REMEMBERED_MESSAGES = 256


@dataclass
class Replay:
    """What a connection is given again of what it has missed, and what must wait for that (H3)."""

    began_at: float
    running: int = 0
    later: list[tuple[TopicDelivery, bytes]] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True, kw_only=True)
class Past:
    """What a connection was given, or spared, as far as that matters to what comes again."""

    directs: "Recent[str, None]" = field(default_factory=partial(Recent, REMEMBERED_MESSAGES))
    spared: "Recent[str, None]" = field(default_factory=partial(Recent, REMEMBERED_MESSAGES))
    broadcasts: Stretches = field(default_factory=Stretches)
    unconfirmed: Unconfirmed
