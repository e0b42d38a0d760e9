"""The verdict for people: one row for each fault, and the command that does it all again."""

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median

from tests.chaos.figures import Figures, Recovery
from tests.chaos.scenario import Outcome
from tests.chaos.violations import Breach, Violation

NO_FAULT = "no fault"


@dataclass(frozen=True)
class Row:
    """What one kind of fault did."""

    fault: str
    times: int
    lost: int
    doubled: int
    reordered: int
    phantom: int
    stuck: int
    recovered_p50: float | None
    """Seconds from a fault's begin until everybody and everything could be reached again."""

    recovered_max: float | None
    command: str


def rows(outcome: Outcome) -> list[Row]:
    """Return a row for each fault that was injected."""
    recoveries = defaultdict(list)
    for one in outcome.verdict.figures.recoveries:
        recoveries[one.fault].append(one)
    blamed = _blame(outcome)
    names = [*recoveries, *(name for name in blamed if name not in recoveries)]
    return [_row(name, recoveries[name], blamed[name], outcome) for name in names or [NO_FAULT]]


def _row(name: str, recoveries: list[Recovery], blamed: Counter[Breach], outcome: Outcome) -> Row:
    times = [one.everywhere for one in recoveries if one.everywhere < math.inf]
    return Row(
        name,
        len(recoveries),
        lost=blamed[Breach.LOST],
        doubled=blamed[Breach.DOUBLED],
        reordered=blamed[Breach.REORDERED],
        phantom=blamed[Breach.PHANTOM],
        stuck=blamed[Breach.STUCK],
        recovered_p50=round(median(times), 2) if times else None,
        recovered_max=round(max(times), 2) if times else None,
        command=command(outcome),
    )


def _blame(outcome: Outcome) -> dict[str, Counter[Breach]]:
    """Count the violations by the fault that was nearest in time."""
    blamed: dict[str, Counter[Breach]] = defaultdict(Counter)
    ends = _ends(outcome)
    for violation in outcome.verdict.violations:
        blamed[_nearest(violation, ends)][violation.breach] += 1
    return blamed


def _ends(outcome: Outcome) -> list[tuple[float, float, str]]:
    found = outcome.verdict.figures.recoveries
    return [(one.begin, one.end, one.fault) for one in found]


def _nearest(violation: Violation, faults: list[tuple[float, float, str]]) -> str:
    def distance(fault: tuple[float, float, str]) -> float:
        begin, end, _ = fault
        return max(begin - violation.at, violation.at - end, 0.0)

    return min(faults, key=distance)[2] if faults else NO_FAULT


def command(outcome: Outcome) -> str:
    """Return what repeats this run."""
    plan = outcome.plan
    faults = "".join(f" --fault '{name}'" for name in plan.faults or ["none"])
    missing = "".join(
        f" --without {name}" for name in ("acks", "recover") if not getattr(plan.habits, name)
    )
    brokers = f" --nodes {plan.brokers}" if plan.brokers > 1 else ""
    sabotage = f" --sabotage {plan.sabotage}" if plan.sabotage else ""
    image = f" --image {plan.image}" if plan.image else ""
    asked = f"--seed {plan.seed} --minutes {plan.seconds / 60:g}"
    return f"python -m tests.chaos {asked}{brokers}{image}{faults}{missing}{sabotage}"


HEAD = (
    "| failure | injected | lost | doubled | reordered | phantom | stuck |"
    " recovered p50 | max |\n|---|---|---|---|---|---|---|---|---|"
)


def markdown(outcome: Outcome) -> str:
    """Return the table, the figures, and what was wrong."""
    lines = [HEAD]
    for row in rows(outcome):
        seconds = [
            f"{one} s" if one is not None else "" for one in (row.recovered_p50, row.recovered_max)
        ]
        cells = [row.fault, row.times, row.lost, row.doubled, row.reordered, row.phantom, row.stuck]
        lines.append("| " + " | ".join(str(one) for one in [*cells, *seconds]) + " |")
    lines += ["", _counted(outcome.verdict.figures), "", f"Again: `{command(outcome)}`"]
    lines += [f"{node} is not ready in the end" for node in outcome.unready]
    return "\n".join(lines)


def _counted(figures: Figures) -> str:
    statuses = ", ".join(f"{many} {status}" for status, many in sorted(figures.statuses.items()))
    return (
        f"{figures.sent} commands sent, {figures.acked} acknowledged ({statuses}), "
        f"{figures.unavailable} answers 503, {figures.unanswered} commands never answered; "
        f"{figures.received} messages received, {figures.filtered} repeats filtered, "
        f"{figures.in_flight} on their way to plain clients when their connections broke, "
        f"{figures.excused} late after the death of a gateway, "
        f"{figures.not_recovered} recoveries beyond what history keeps."
    )


def json_lines(outcome: Outcome) -> str:
    """Return one JSON object for each row."""
    return "\n".join(json.dumps(vars(row)) for row in rows(outcome))
