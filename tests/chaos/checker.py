"""PURE: reads the history of a run and names every promise that was broken in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos import losses, order, phantoms, stuck
from tests.chaos.figures import Figures, figures
from tests.chaos.history import History, Received
from tests.chaos.reading import Limits, Reading
from tests.chaos.violations import Breach, Violation


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a run."""

    violations: Sequence[Violation]
    figures: Figures

    def of(self, breach: Breach) -> list[Violation]:
        """Return the violations of one kind."""
        return [one for one in self.violations if one.breach is breach]

    @property
    def kinds(self) -> set[Breach]:
        """Return which promises were broken."""
        return {one.breach for one in self.violations}

    def __str__(self) -> str:
        return "\n".join(str(one) for one in self.violations) or "nothing to complain of"


def check(history: History, limits: Limits | None = None) -> Verdict:
    """Judge a whole history."""
    reading = Reading(history, limits or Limits())
    lost, ordered = losses.judge(reading), order.judge(reading)
    violations = [
        *lost.violations,
        *ordered.violations,
        *phantoms.judge(reading),
        *stuck.judge(reading),
    ]
    violations.sort(key=lambda one: one.at)
    counted = figures(
        reading,
        received=sum(isinstance(one, Received) for one in history.events),
        filtered=ordered.filtered,
        excused=ordered.excused,
        in_flight=lost.in_flight,
        refused=lost.not_recovered,
    )
    return Verdict(violations, counted)
