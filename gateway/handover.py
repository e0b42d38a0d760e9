"""A direct message in this node's hands, until a connection has it or it is handed back.

The broker keeps the message all the while: it is acknowledged only then.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.messages.deliveries import DirectDelivery
from shared.trail import Step


@dataclass
class Parcel:
    """One message of the broker with several direct messages in it."""

    left: int
    acknowledge: Callable[[], None]

    def settle(self) -> None:
        """One of them is settled; acknowledge the parcel when all are."""
        self.left -= 1
        if not self.left:
            self.acknowledge()


@dataclass(eq=False)
class Handover:
    """One direct message, and the connections of this node that may still take it."""

    delivery: DirectDelivery
    parcel: Parcel
    step: Step
    waiting: set[str] = field(default_factory=set)
    """Connections that it is held for, or that have not confirmed it."""

    settled: bool = False
    reached: bool = False
    """Whether it was written to a client here."""

    unconfirmed: bool = False
    """Whether a connection that is still there let the time pass."""

    unwritten: bool = False
    """Whether a connection that is still there must confirm others first."""

    behind: bool = False
    """Whether something else for the user was handed back before."""

    def settle(self) -> bool:
        """Be done with it; return False if it was already."""
        if self.settled:
            return False
        self.settled = True
        return True
