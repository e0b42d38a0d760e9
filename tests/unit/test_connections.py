from dataclasses import dataclass

from gateway.core.connections import Connections


@dataclass(frozen=True)
class Held:
    id: str
    user_id: str


PHONE, LAPTOP, BOB = Held("c1", "alice"), Held("c2", "alice"), Held("c3", "bob")


def test_connections_are_found_by_id_and_by_user():
    connections: Connections[Held] = Connections()
    for one in (PHONE, LAPTOP, BOB):
        connections.add(one)

    assert connections.get("c1") is PHONE
    assert connections.of_user("alice") == [PHONE, LAPTOP]
    assert len(connections) == 3
    connections.remove(PHONE)
    assert connections.get("c1") is None
    assert connections.of_user("alice") == [LAPTOP]
    connections.remove(LAPTOP)
    assert connections.of_user("alice") == []
    assert list(connections) == [BOB]


def test_a_connection_may_be_removed_twice():
    connections: Connections[Held] = Connections()
    connections.add(BOB)
    connections.remove(BOB)
    connections.remove(BOB)

    assert len(connections) == 0


def test_connections_may_come_and_go_while_they_are_walked_through():
    connections: Connections[Held] = Connections()
    connections.add(PHONE)
    connections.add(BOB)
    for one in connections:
        connections.remove(one)

    assert len(connections) == 0
