"""PURE: the tables of ``realtime cluster`` and ``realtime trace``."""

from collections.abc import Iterable

from shared.messages.answers import StepTold, TrailTold
from shared.overview import GATEWAY, Process
from shared.table import aligned

SILENT_SECONDS = 5.0
"""After so long without a word a line is marked."""

COLUMNS = (
    "NODE",
    "ROLE",
    "RELEASE",
    "CONNECTIONS",
    "PARTITIONS",
    "IN/S",
    "OUT/S",
    "P99",
    "SEEN",
)


def cluster_table(processes: Iterable[Process], now: float) -> str:
    """Return one line for each process; ``now`` is monotonic, in seconds."""
    return aligned(COLUMNS, [_row(process, now) for process in processes])


def _row(process: Process, now: float) -> tuple[str, ...]:
    silent, is_gateway = now - process.seen_at, process.role == GATEWAY
    all_seats = len(process.serves) + len(process.stands_by)
    return (
        process.node,
        process.role,
        process.release,
        str(process.connections) if is_gateway else "",
        "" if is_gateway else f"{len(process.serves)} of {all_seats}",
        f"{process.taken_rate:.0f}",
        f"{process.given_rate:.0f}" if is_gateway else "",
        f"{process.p99_ms:.1f}" if is_gateway else "",
        "now" if silent < SILENT_SECONDS else f"{silent:.0f} s ago",
    )


def in_order(told: Iterable[TrailTold]) -> list[tuple[StepTold, TrailTold]]:
    """Return the steps of a message in the order of their beginnings, with who has told them."""
    steps = ((step, one) for one in told for step in one.steps)
    return sorted(steps, key=lambda pair: pair[0].began_ns)


def trail_table(told: Iterable[TrailTold]) -> str:
    """Return one line for each step of a message."""
    steps = in_order(told)
    first_ns = steps[0][0].began_ns if steps else 0
    return aligned(
        ("AFTER", "TOOK", "STEP", "SERVICE", "NODE", "DETAILS"),
        [
            (
                _milliseconds(step.began_ns - first_ns),
                "..." if step.took_ns is None else _milliseconds(step.took_ns),
                step.name,
                one.service,
                one.node_id,
                _details(step),
            )
            for step, one in steps
        ],
    )


def _milliseconds(ns: int) -> str:
    return f"{ns / 1_000_000:.2f} ms"


def _details(step: StepTold) -> str:
    return ", ".join(f"{name} {value}" for name, value in step.details.items())
