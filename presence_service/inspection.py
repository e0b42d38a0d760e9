"""What an operator may ask a running presence service."""

from collections.abc import Iterator

from presence_service.commands import PresenceOwner
from shared.ownership.inspection import partitions
from shared.ownership.replica import Replica
from shared.process.monitor import Inspection, Inspections


def inspections(replica: Replica) -> Inspections:
    """Return the questions about partitions and where users are."""

    def locations(user_id: str) -> Iterator[tuple[object, ...]]:
        for seat in replica.seats:
            owner = seat.reign.owner if seat.reign else None
            if not isinstance(owner, PresenceOwner):
                continue
            if (person := owner.directory.people.get(user_id)) is not None:
                for connection_id, sender in person.connections.items():
                    yield seat.partition, connection_id, sender.node_id, sender.boot, person.status

    return {
        "partitions": partitions(replica),
        "locations": Inspection(
            "Connections of USER, if its partition is served here, and where they are.",
            ("PARTITION", "CONNECTION", "GATEWAY", "BOOT", "STATUS"),
            locations,
            argument="USER",
        ),
    }
