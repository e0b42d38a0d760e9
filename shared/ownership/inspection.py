"""What a replica's operator may ask a running process, whichever service it is."""

from collections.abc import Iterator

from shared.ownership.replica import Replica
from shared.process.monitor import Inspection


def partitions(replica: Replica) -> Inspection:
    """Return the question for the partitions of a replica."""

    def rows() -> Iterator[tuple[object, ...]]:
        for seat in replica.seats:
            reign = seat.reign
            if reign is not None:
                state, term, lasts = "serves", str(reign.term), f"{reign.seconds:.0f} s"
            else:
                state, term, lasts = ("stands by" if seat.consumes else "joins"), "", ""
            yield seat.partition, state, term, lasts, seat.performed

    return Inspection(
        "Partitions: whether they are served here, since when, and commands carried out.",
        ("PARTITION", "STATE", "TERM", "FOR", "COMMANDS"),
        rows,
    )
