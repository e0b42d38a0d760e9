"""PURE: the table of ``realtime cluster``."""

from collections.abc import Iterable

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
