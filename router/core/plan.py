"""PURE: whom a broadcast goes to. Unsure means send everything."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from router.core.interest_table import InterestTable
from shared.broker import topology
from shared.broker.ports import Address
from shared.messages.envelopes import RouteBroadcast, Sender


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses to publish to, and the nodes that will send a receipt."""

    addresses: tuple[Address, ...]
    nodes: tuple[str, ...]


def plan(
    command: RouteBroadcast, table: InterestTable, alive: Mapping[str, Sender], serial: int = 0
) -> Plan:
    """Decide whom a broadcast goes to; one that was kept before, under ``serial``, again."""
    if command.audience is not None:
        return addressed(alive.keys(), alive)
    if command.only_node:
        return addressed({command.only_node}, alive)
    return addressed(interested(command.topic, table, alive, serial), alive)


def interested(
    topic: str, table: InterestTable, alive: Mapping[str, Sender], serial: int = 0
) -> AbstractSet[str]:
    """Return the nodes that want a topic, or may: what was kept under ``serial``, again.

    A node that has not reported its interest in this reign gets everything, for it filters
    anyway. A node whose interest came after a message has no claim to its repeat, which would
    follow what was said since.
    """
    wanting = table.wanted_at(topic, serial) if serial else table.wanted_by(topic)
    return wanting | (alive.keys() - table.reported)


def addressed(nodes: AbstractSet[str], alive: Mapping[str, Sender]) -> Plan:
    """Return the plan for those of the nodes that live."""
    ordered = tuple(sorted(nodes & alive.keys()))
    return Plan(tuple(inbox_of(alive[node]) for node in ordered), ordered)


def inbox_of(sender: Sender) -> Address:
    """Return the address of a node's inbox."""
    return topology.queue_address(topology.inbox(sender.node_id, sender.boot))
