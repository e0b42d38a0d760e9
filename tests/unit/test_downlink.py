"""What a node reports of what it was given: gateway/downlink.py."""

import pytest

from gateway.core.tally import Tally
from presence_service.commands import PresenceOwner
from presence_service.core.mailbox import Limits
from shared.messages.envelopes import (
    ConnectionOpened,
    DirectReceipt,
    Located,
    Opened,
    Receipt,
)
from shared.ownership.leases import Leases
from tests.unit.builders import Stage, direct_delivery, life, topic_delivery
from tests.unit.gateway_node import Client, GatewayNode


@pytest.fixture
def node() -> GatewayNode:
    return GatewayNode("n1")


def test_a_broadcast_is_reported_with_its_count_if_somebody_asks(node):
    node.client("c1", "bob", "chat.general")

    node.deliver(topic_delivery(number=1, ask="one"), topic_delivery(number=2, report_to=""))

    assert node.reports == [Receipt("one", "n1", 1)]


def test_a_direct_message_is_reported_with_its_connections(node):
    node.client("c1")
    node.client("c2")

    node.deliver(direct_delivery())

    assert node.reports == [DirectReceipt("dm_1", "n1", ["c1", "c2"])]
    assert node.uplink.handed_back == []


def test_a_direct_message_for_nobody_is_handed_back(node):
    node.deliver(direct_delivery())

    assert [one.delivery for one in node.uplink.handed_back] == [direct_delivery()]


def test_a_message_that_was_held_is_written_and_reported_after_the_welcome(node):
    client = node.client("c1", welcomed=False)
    node.deliver(direct_delivery())
    assert node.reports == []

    node.downlink.release(client.connection)

    assert client.heard[0]["type"] == "DirectMessage"
    assert node.reports == [DirectReceipt("dm_1", "n1", ["c1"])]


def test_a_message_that_was_held_for_a_welcome_that_never_came_is_handed_back(node):
    client = node.client("c1", welcomed=False)
    node.deliver(direct_delivery())
    node.connections.remove(client.connection)

    node.downlink.hand_back(client.connection)

    assert len(node.uplink.handed_back) == 1


def test_deliveries_of_an_owner_that_was_deposed_are_dropped(node):
    client = node.client("c1", "bob", "chat.general")

    node.deliver(topic_delivery(number=1), term=2)
    node.deliver(topic_delivery(number=2), term=1)
    node.deliver(topic_delivery(number=3), term=2)
    node.deliver(topic_delivery(number=4), term=1, partition=1)

    assert len(client.frames) == 3


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\x00\x01\x91\x01"])
def test_bad_deliveries_and_answers_are_ignored(node, body):
    node.downlink.inbox(body)
    node.downlink.direct(body)
    node.downlink.answer(body)


@pytest.mark.parametrize("welcomed", [True, False])
def test_a_held_message_is_not_lost_on_a_connection_that_came_only_after_it(node, welcomed):
    """c2 waits for its Welcome and holds the message, c3 comes, c2 goes."""
    waiting = node.client("c2", welcomed=False)
    node.deliver(direct_delivery())
    later = node.client("c3", welcomed=welcomed)
    node.connections.remove(waiting.connection)

    node.downlink.hand_back(waiting.connection)
    node.downlink.release(later.connection)

    assert later.heard or node.uplink.handed_back


def test_a_held_message_is_not_lost_on_a_connection_whose_socket_did_not_take_it(node):
    gone, waiting = node.client("c1"), node.client("c2", welcomed=False)
    gone.gone = True
    node.deliver(direct_delivery())
    node.connections.remove(waiting.connection)

    node.downlink.hand_back(waiting.connection)

    assert node.uplink.handed_back


# ---- together with the owner of the table --------------------------------------------------------


def table_after_what_was_handed_back(node: GatewayNode, *clients: Client) -> set[str]:
    """Return the connections of bob that presence still knows after hearing from the node."""
    leases = Leases({"n1": life("n1")})
    owner = PresenceOwner(leases, True, Limits())
    stage = Stage(owner)
    for one in clients:
        stage.send(life("n1"), ConnectionOpened(Opened("bob", one.connection.id)))
    for command in node.uplink.handed_back:
        stage.send(life("n1"), command)
    return set(owner.directory.connections_at("bob", "n1"))


def test_a_connection_that_is_only_slow_stays_where_it_is_known(node):
    client = node.client("c1")
    client.slow = True

    node.deliver(direct_delivery())

    assert table_after_what_was_handed_back(node, client) == {"c1"}


def test_a_connection_whose_socket_is_gone_is_forgotten(node):
    client = node.client("c1")
    client.gone = True

    node.deliver(direct_delivery())

    assert table_after_what_was_handed_back(node, client) == set()


def test_a_connection_that_was_never_welcomed_takes_no_other_with_it(node):
    """Presence would take bob for gone, while he is here and has the message."""
    ready, waiting = node.client("c1"), node.client("c2", welcomed=False)
    node.deliver(direct_delivery())
    node.connections.remove(waiting.connection)

    node.downlink.hand_back(waiting.connection)

    assert "c1" in table_after_what_was_handed_back(node, ready, waiting)


def test_the_sender_hears_of_all_connections_though_one_was_welcomed_later(node):
    node.client("c1")
    waiting = node.client("c2", welcomed=False)
    node.deliver(direct_delivery())
    node.downlink.release(waiting.connection)
    tally = Tally(located=Located("dm_1", "dm_1", ["n1", "n2"]))
    for report in node.reports:
        tally.add(report)

    assert tally.delivered_to == ["c1", "c2"]
