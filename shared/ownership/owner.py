"""PURE: what the owners of both services do alike."""

from typing import Generic, TypeVar

from shared.messages.envelopes import Sender
from shared.ownership.effects import Effects

Given = TypeVar("Given")


class PartitionOwner(Generic[Given]):
    """Knows repeats by their numbers, stamps, and gathers effects.

    ``Given`` is what an owner remembers of a delivery until it knows who took it.
    """

    def __init__(self) -> None:
        self._effects = Effects()
        self._gathered: list[Given] = []
        self._given: list[Given] = []
        self._last_numbers: dict[str, int] = {}
        self._last_stamp_ms = 0

    def _is_repeat(self, sender: Sender, number: int) -> bool:
        """Whether this number of this process was seen before; it counts as seen from now on."""
        if number <= self._last_numbers.get(sender.process, 0):
            return True
        self._last_numbers[sender.process] = number
        return False

    def _stamp(self, now_ms: int) -> int:
        """Return the time to stamp with: never less than the last one."""
        self._last_stamp_ms = max(self._last_stamp_ms, now_ms)
        return self._last_stamp_ms

    def take(self) -> Effects | None:
        """Hand out what has gathered; see ``Owner``."""
        if not self._effects and not self._gathered:
            return None
        effects, self._effects = self._effects, Effects()
        self._given += self._gathered
        self._gathered = []
        return effects
