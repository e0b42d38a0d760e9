"""PURE: the ways to break a promise."""

from dataclasses import dataclass
from enum import Enum


class Breach(Enum):
    """What kind of promise was broken."""

    LOST = "lost"
    DOUBLED = "doubled"
    REORDERED = "reordered"
    PHANTOM = "phantom"
    STUCK = "stuck"


@dataclass(frozen=True)
class Violation:
    """One promise broken, once."""

    at: float
    breach: Breach
    what: str

    def __str__(self) -> str:
        return f"{self.at:9.3f} {self.breach.name:9} {self.what}"
