"""What an operator may ask a running router."""

from collections.abc import Iterator

from router.commands import RouterOwner
from shared.ownership.inspection import partitions
from shared.ownership.replica import Replica
from shared.process.monitor import Inspection, Inspections


def inspections(replica: Replica) -> Inspections:
    """Return the questions about partitions and what nodes want of them."""

    def interest(partition: str | None) -> Iterator[tuple[object, ...]]:
        if partition is not None and not partition.isdecimal():
            raise ValueError(f"Not a number: {partition}")
        for seat in replica.seats:
            owner = seat.reign.owner if seat.reign else None
            asked = partition is None or seat.partition == int(partition)
            if asked and isinstance(owner, RouterOwner):
                for node_id, pattern in owner.table:
                    yield seat.partition, node_id, pattern

    return {
        "partitions": partitions(replica),
        "interest": Inspection(
            "Patterns that gateways want, of PARTITION or of all that are served here.",
            ("PARTITION", "GATEWAY", "PATTERN"),
            interest,
            argument="[PARTITION]",
        ),
    }
