"""Direct messages to the sockets, or back to where their user is known: gateway/directs.py."""

import asyncio
from typing import Any

import pytest

from gateway import unconfirmed
from gateway.core.tally import Tally
from gateway.core.wire import text_frame
from presence_service.commands import PresenceOwner
from presence_service.core.mailbox import Limits
from shared.errors import SlowConsumer
from shared.messages import frames
from shared.messages.answers import DirectReceipt, Located
from shared.messages.deliveries import DirectDelivery, SettleAsked
from shared.messages.envelopes import (
    ConnectionOpened,
    DirectMessageReturned,
    MailboxAsked,
    Opened,
    Settled,
)
from shared.ownership.leases import Leases
from tests.unit.builders import Stage, direct_delivery, life
from tests.unit.gateway_node import Client, GatewayNode


@pytest.fixture
def node() -> GatewayNode:
    return GatewayNode("n1")


def message(name: str = "dm_1", **fields: Any) -> DirectDelivery:
    return direct_delivery(message_id=name, ask=name, **fields)


def report(*connections: str, name: str = "dm_1", pending: bool = False) -> DirectReceipt:
    return DirectReceipt(name, "n1", list(connections), pending)


def heard(client: Client) -> list[str]:
    """The ids of the messages that a client was written, in order."""
    return [one["data"]["metadata"]["message_id"] for one in client.heard]


def confirm(node: GatewayNode, client: Client, *names: str) -> None:
    """Have a client send its Ack."""
    node.directs.confirmed(client.connection, list(names))


def handed_back(node: GatewayNode) -> list[tuple[str, str]]:
    """What was handed back, and what has become of the connections."""
    return [(one.delivery.message_id, _fate(one)) for one in node.uplink.handed_back]


def _fate(back: DirectMessageReturned) -> str:
    if back.behind:
        return "behind"
    return "let it pass" if back.unconfirmed else "full" if back.unwritten else "gone"


# ---- order over a move (R1) ----------------------------------------------------------------------


def test_what_comes_behind_a_message_that_went_back_goes_back_too(node: GatewayNode) -> None:
    """Its user is here again, but would get the later message first."""
    node.direct(message("dm_1"))
    client = node.client("c1")

    node.direct(message("dm_2"), message("dm_3", connection_id="c1", queued=True))

    assert heard(client) == []
    assert handed_back(node) == [("dm_1", "gone"), ("dm_2", "behind"), ("dm_3", "behind")]


def test_a_node_that_is_asked_says_that_all_is_settled_and_goes_on(node: GatewayNode) -> None:
    node.direct(message("dm_1"))
    client = node.client("c1")

    parcel = node.direct(SettleAsked("bob", "n1"), message("dm_1"), message("dm_2"))

    assert node.uplink.told_settled == [Settled("bob", "n1")]
    assert heard(client) == ["dm_1", "dm_2"]
    assert parcel in node.acknowledged


def test_what_went_back_holds_up_nobody_else(node: GatewayNode) -> None:
    node.direct(message("dm_1"))
    carol = node.client("c1", "carol")

    node.direct(message("dm_2", target_user="carol"))

    assert heard(carol) == ["dm_2"]


def test_what_is_held_for_a_welcome_does_not_overtake_what_went_back(node: GatewayNode) -> None:
    late = node.client("c2", welcomed=False)
    node.direct(message("dm_1", connection_id="c1", queued=True), message("dm_2"))

    node.welcome(late)

    assert heard(late) == []
    assert handed_back(node) == [("dm_1", "gone"), ("dm_2", "behind")]


async def test_what_waits_for_a_client_goes_back_when_its_user_is_elsewhere_too(
    node: GatewayNode,
) -> None:
    silent, late = node.client("c1", confirms=True), node.client("c2", welcomed=False)
    node.direct(message("dm_1"), message("dm_2"))
    confirm(node, silent, "dm_1")

    node.direct(SettleAsked("bob", "n1", moved=True))
    assert handed_back(node) == [("dm_2", "behind")]
    assert node.uplink.told_settled == [Settled("bob", "n1")]
    node.welcome(late)
    assert heard(late) == ["dm_1"]  # the rest comes again, in order

    node.direct(message("dm_2"), message("dm_3"))
    assert heard(late) == ["dm_1", "dm_2", "dm_3"]
    confirm(node, silent, "dm_2", "dm_3")
    assert heard(silent) == ["dm_1", "dm_2", "dm_3"]
    assert len(node.acknowledged) == 2
    assert len(node.uplink.handed_back) == 1


async def test_who_connects_is_written_first_what_the_users_other_clients_have_not_confirmed(
    node: GatewayNode,
) -> None:
    """They may be gone without having said so, and what they have not taken would come behind."""
    silent, late = node.client("c1", confirms=True), node.client("c2", welcomed=False)
    node.direct(message("dm_1"))
    another = node.client("c3", confirms=True, welcomed=False)
    node.direct(message("dm_2"))

    node.welcome(late)
    node.welcome(another)
    node.direct(message("dm_3"))
    node.leave(silent)

    assert heard(late) == ["dm_1", "dm_2", "dm_3"]
    assert heard(another) == ["dm_2", "dm_3"]  # somebody has the first one already
    assert handed_back(node) == []


async def test_what_is_let_pass_is_offered_to_one_who_came_meanwhile(node: GatewayNode) -> None:
    silent = node.client("c1", confirms=True)
    node.direct(message("dm_1"))
    late = node.client("c2", welcomed=False)

    silent.let_time_pass()
    assert handed_back(node) == []
    node.welcome(late)

    assert heard(late) == ["dm_1"]


@pytest.mark.usefixtures("few")
async def test_who_has_room_again_is_given_what_another_let_pass(node: GatewayNode) -> None:
    full, idle = node.client("c1", confirms=True), node.client("c2", confirms=True)
    node.direct(message("dm_1"), message("dm_2"))
    confirm(node, idle, "dm_1", "dm_2")
    node.direct(message("dm_3"))
    assert heard(full) == ["dm_1", "dm_2"]
    confirm(node, full, "dm_1", "dm_2")

    idle.let_time_pass()

    assert heard(full) == ["dm_1", "dm_2", "dm_3"]
    assert handed_back(node) == []


def test_a_live_only_message_does_not_go_back_behind_others(node: GatewayNode) -> None:
    node.direct(message("dm_1"))
    client = node.client("c1")

    node.direct(message("dm_2", ttl=0))

    assert heard(client) == ["dm_2"]


async def test_what_is_let_pass_lets_later_ones_through(node: GatewayNode) -> None:
    client = node.client("c1", confirms=True)
    node.direct(message("dm_1"))
    client.let_time_pass()

    node.direct(message("dm_2"))

    assert heard(client) == ["dm_1", "dm_2"]


# ---- plain clients -------------------------------------------------------------------------------


def test_a_message_goes_to_all_connections_of_its_user_and_to_no_other(node: GatewayNode) -> None:
    phone, laptop, other = node.client("c1"), node.client("c2"), node.client("c3", "eve")

    parcel = node.direct(message())

    assert phone.frames == laptop.frames == [text_frame(frames.direct_delivery(message()))]
    assert other.frames == []
    assert node.reports == [report("c1", "c2")]
    assert node.acknowledged == [parcel]


def test_a_message_from_the_mailbox_goes_to_one_connection(node: GatewayNode) -> None:
    phone, laptop = node.client("c1"), node.client("c2")

    node.direct(message(connection_id="c2", queued=True))

    assert phone.frames == []
    assert laptop.heard[0]["data"]["metadata"]["queued"] is True


def test_nobody_is_told_of_what_nobody_asks_about(node: GatewayNode) -> None:
    node.client("c1")

    node.direct(message(report_to=""), message("dm_2", target_user="eve", report_to=""))

    assert node.reports == []


@pytest.mark.parametrize("fields", [{}, {"connection_id": "c9"}])
def test_a_message_for_nobody_here_is_handed_back(
    node: GatewayNode, fields: dict[str, str]
) -> None:
    node.client("c3", "eve")

    node.direct(message(**fields))

    assert node.uplink.handed_back == [DirectMessageReturned(message(**fields))]
    assert node.reports == [report()]


def test_a_message_is_written_to_a_connection_once_however_often_it_comes(
    node: GatewayNode,
) -> None:
    client = node.client("c1")

    parcels = [node.direct(message()), node.direct(message())]

    assert heard(client) == ["dm_1"]
    assert node.reports == [report("c1"), report("c1")]
    assert node.acknowledged == parcels


def test_a_message_is_on_its_way_to_a_slow_reader_too_and_is_not_doubled(
    node: GatewayNode,
) -> None:
    client = node.client("c1")
    client.slow = True

    node.direct(message())
    node.direct(message())

    assert heard(client) == ["dm_1"]
    assert node.reports == [report("c1"), report("c1")]


def test_a_message_that_no_socket_took_is_handed_back(node: GatewayNode) -> None:
    gone, overdue = node.client("c1"), node.client("c2")
    gone.gone = overdue.overdue = True

    node.direct(message())

    assert handed_back(node) == [("dm_1", "gone")]
    assert [type(error) for error in overdue.ended] == [SlowConsumer]


# ---- before the Welcome --------------------------------------------------------------------------


def test_a_message_is_held_until_the_welcome_is_written(node: GatewayNode) -> None:
    client = node.client("c1", welcomed=False)
    parcel = node.direct(message())
    assert (client.frames, node.reports, node.acknowledged) == ([], [], [])

    node.welcome(client)

    assert heard(client) == ["dm_1"]
    assert node.reports == [report("c1")]
    assert node.acknowledged == [parcel]


def test_what_was_held_comes_in_order(node: GatewayNode) -> None:
    client = node.client("c1", welcomed=False)
    for name in ("dm_1", "dm_2", "dm_3"):
        node.direct(message(name))

    node.welcome(client)

    assert heard(client) == ["dm_1", "dm_2", "dm_3"]


def test_a_connection_that_is_not_welcomed_yet_does_not_hold_up_the_others(
    node: GatewayNode,
) -> None:
    waiting, ready = node.client("c1", welcomed=False), node.client("c2")

    parcel = node.direct(message())

    assert (heard(waiting), heard(ready)) == ([], ["dm_1"])
    assert node.acknowledged == [parcel]
    node.welcome(waiting)
    assert heard(waiting) == ["dm_1"]


def test_what_was_held_for_a_welcome_that_never_came_is_handed_back(node: GatewayNode) -> None:
    client = node.client("c1", welcomed=False)
    node.direct(message())

    node.leave(client)

    assert handed_back(node) == [("dm_1", "gone")]


@pytest.mark.parametrize("welcomed", [True, False])
def test_a_held_message_is_not_lost_on_a_connection_that_came_only_after_it(
    node: GatewayNode, welcomed: bool
) -> None:
    """c2 waits for its Welcome and holds the message, c3 comes, c2 goes."""
    waiting = node.client("c2", welcomed=False)
    node.direct(message())
    later = node.client("c3", welcomed=welcomed)

    node.leave(waiting)
    node.welcome(later)

    assert heard(later) == ["dm_1"]
    assert not node.uplink.handed_back


def test_a_held_message_is_not_lost_on_a_connection_whose_socket_did_not_take_it(
    node: GatewayNode,
) -> None:
    gone, waiting = node.client("c1"), node.client("c2", welcomed=False)
    gone.gone = True
    node.direct(message())

    node.leave(waiting)

    assert handed_back(node) == [("dm_1", "gone")]


def test_a_message_held_by_two_is_handed_back_when_both_are_gone(node: GatewayNode) -> None:
    first, second = (node.client(one, welcomed=False) for one in ("c1", "c2"))
    node.direct(message())

    node.leave(first)
    assert handed_back(node) == []
    node.leave(second)

    assert handed_back(node) == [("dm_1", "gone")]


def test_a_message_that_was_served_meanwhile_is_not_handed_back(node: GatewayNode) -> None:
    node.client("c1")
    waiting = node.client("c2", welcomed=False)
    parcel = node.direct(message())

    node.leave(waiting)

    assert handed_back(node) == []
    assert node.reports == [report("c1")]
    assert node.acknowledged == [parcel]


def test_a_message_held_by_two_waits_on_for_one_when_the_other_is_gone(node: GatewayNode) -> None:
    first, second = (node.client(one, welcomed=False) for one in ("c1", "c2"))
    node.direct(message())

    node.leave(first)
    node.welcome(second)

    assert heard(second) == ["dm_1"]
    assert node.reports == [report("c2")]


# ---- clients that confirm (R2) -------------------------------------------------------------------


async def test_a_client_that_confirms_is_served_when_it_has_confirmed(node: GatewayNode) -> None:
    client = node.client("c1", confirms=True)

    parcel = node.direct(message())
    assert heard(client) == ["dm_1"]
    assert node.reports == [report(pending=True)]
    assert node.acknowledged == []
    confirm(node, client, "dm_1")

    assert node.reports == [report(pending=True), report("c1")]
    assert node.acknowledged == [parcel]


async def test_each_connection_is_reported_as_it_confirms_and_one_is_enough_for_the_broker(
    node: GatewayNode,
) -> None:
    first, second = (node.client(one, confirms=True) for one in ("c1", "c2"))
    parcel = node.direct(message())

    confirm(node, second, "dm_1")
    assert node.acknowledged == [parcel]
    confirm(node, first, "dm_1")

    assert node.reports == [report(pending=True), report("c2"), report("c1")]
    assert node.acknowledged == [parcel]


async def test_a_plain_connection_is_enough_though_another_never_confirms(
    node: GatewayNode,
) -> None:
    node.client("c1")
    careful = node.client("c2", confirms=True)
    parcel = node.direct(message())
    assert node.reports == [report("c1")]
    assert node.acknowledged == [parcel]

    careful.let_time_pass()
    node.leave(careful)

    assert handed_back(node) == []
    assert node.acknowledged == [parcel]


async def test_what_was_held_is_to_be_confirmed_too(node: GatewayNode) -> None:
    client = node.client("c1", welcomed=False, confirms=True)
    parcel = node.direct(message())
    assert node.reports == []

    node.welcome(client)
    assert node.reports == [report(pending=True)]
    assert node.acknowledged == []
    confirm(node, client, "dm_1")

    assert node.acknowledged == [parcel]


async def test_what_comes_again_is_not_written_again_and_one_confirmation_is_for_both(
    node: GatewayNode,
) -> None:
    client = node.client("c1", confirms=True)
    parcels = [node.direct(message()), node.direct(message())]
    assert node.acknowledged == []

    confirm(node, client, "dm_1")

    assert heard(client) == ["dm_1"]
    assert node.acknowledged == parcels


async def test_what_comes_again_after_it_was_confirmed_is_served(node: GatewayNode) -> None:
    client = node.client("c1", confirms=True)
    node.direct(message())
    confirm(node, client, "dm_1")

    again = node.direct(message())

    assert heard(client) == ["dm_1"]
    assert node.acknowledged[-1] == again
    assert node.reports[-1] == report("c1")


async def test_the_first_ack_for_what_it_was_written_makes_a_client_one_that_confirms(
    node: GatewayNode,
) -> None:
    client = node.client("c1")
    node.direct(message("dm_1"))

    confirm(node, client, "dm_unknown", "dm_1")
    node.direct(message("dm_2"))

    assert client.connection.confirms
    assert node.reports == [report("c1"), report(name="dm_2", pending=True)]


@pytest.mark.parametrize("times", [1, 2])
def test_an_ack_for_what_it_was_not_written_does_not_make_it_one(
    node: GatewayNode, times: int
) -> None:
    client = node.client("c1")

    for _ in range(times):
        confirm(node, client, "dm_unknown")

    assert not client.connection.confirms


# ---- what is not confirmed -----------------------------------------------------------------------


async def test_what_is_not_confirmed_in_time_is_handed_back_as_unconfirmed(
    node: GatewayNode,
) -> None:
    client = node.client("c1", confirms=True)
    node.direct(message())

    client.let_time_pass()

    assert handed_back(node) == [("dm_1", "let it pass")]
    assert node.reports == [report(pending=True), report()]


async def test_the_time_to_confirm_runs_out_by_itself(
    node: GatewayNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unconfirmed, "CONFIRM_SECONDS", 0.01)
    node.client("c1", confirms=True)
    node.direct(message())

    await asyncio.sleep(0.1)

    assert handed_back(node) == [("dm_1", "let it pass")]


async def test_a_message_is_handed_back_only_when_the_last_has_let_it_pass(
    node: GatewayNode,
) -> None:
    first, second = (node.client(one, confirms=True) for one in ("c1", "c2"))
    node.direct(message())

    first.let_time_pass()
    assert handed_back(node) == []
    second.let_time_pass()

    assert handed_back(node) == [("dm_1", "let it pass")]


async def test_what_one_lets_pass_another_may_still_confirm(
    node: GatewayNode,
) -> None:
    first, second = (node.client(one, confirms=True) for one in ("c1", "c2"))
    parcel = node.direct(message())
    first.let_time_pass()

    confirm(node, second, "dm_1")

    assert handed_back(node) == []
    assert node.acknowledged == [parcel]


async def test_what_waited_for_one_connection_and_is_let_pass_is_offered_to_the_others(
    node: GatewayNode,
) -> None:
    careless, plain = node.client("c1", confirms=True), node.client("c2")
    other = node.client("c3", "eve")
    parcel = node.direct(message(connection_id="c1", queued=True))
    assert plain.frames == []

    careless.let_time_pass()

    assert (heard(plain), heard(other)) == (["dm_1"], [])
    assert len(careless.frames) == 1
    assert handed_back(node) == []
    assert node.acknowledged == [parcel]


async def test_what_waited_and_no_connection_confirms_is_handed_back_for_all_of_them(
    node: GatewayNode,
) -> None:
    first, second = (node.client(one, confirms=True) for one in ("c1", "c2"))
    node.direct(message(connection_id="c1", queued=True))

    first.let_time_pass()
    second.let_time_pass()

    [back] = node.uplink.handed_back
    assert (back.delivery.connection_id, back.unconfirmed) == ("", True)


async def test_whoever_let_something_pass_asks_for_it_with_the_next_ack_and_only_once(
    node: GatewayNode,
) -> None:
    client = node.client("c1", confirms=True)
    node.direct(message())
    client.let_time_pass()
    assert node.uplink.asked_mailbox == []

    confirm(node, client, "dm_1")
    confirm(node, client, "dm_1")

    assert node.uplink.asked_mailbox == [MailboxAsked("bob", "c1")]


async def test_whoever_has_confirmed_all_in_time_asks_for_nothing(node: GatewayNode) -> None:
    client = node.client("c1", confirms=True)
    node.direct(message())

    confirm(node, client, "dm_1")
    client.let_time_pass()

    assert node.uplink.asked_mailbox == []
    assert handed_back(node) == []


async def test_what_a_connection_has_not_confirmed_before_it_went_is_handed_back(
    node: GatewayNode,
) -> None:
    client = node.client("c1", confirms=True)
    node.direct(message("dm_1"), message("dm_2"), message("dm_3"))
    confirm(node, client, "dm_2")

    node.leave(client)

    assert handed_back(node) == [("dm_1", "gone"), ("dm_3", "behind")]


async def test_what_a_connection_has_not_confirmed_before_it_went_one_that_came_later_gets(
    node: GatewayNode,
) -> None:
    goes = node.client("c1", confirms=True)
    parcel = node.direct(message())
    later = node.client("c2", confirms=True)
    assert later.frames == []

    node.leave(goes)
    assert heard(later) == ["dm_1"]
    confirm(node, later, "dm_1")

    assert handed_back(node) == []
    assert node.acknowledged == [parcel]


async def test_what_was_for_one_connection_that_went_is_handed_back_as_for_that_one(
    node: GatewayNode,
) -> None:
    goes, stays = node.client("c1", confirms=True), node.client("c2")
    node.direct(message(connection_id="c1", queued=True))

    node.leave(goes)

    assert stays.frames == []
    [back] = node.uplink.handed_back
    assert (back.delivery.connection_id, back.unconfirmed) == ("c1", False)


# ---- a client that confirms nothing holds up nobody ----------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a connection have two messages unconfirmed."""
    monkeypatch.setattr(unconfirmed, "MAX_UNCONFIRMED", 2)


@pytest.mark.usefixtures("few")
async def test_what_is_too_much_for_a_client_is_handed_back_at_once_and_not_written(
    node: GatewayNode,
) -> None:
    client = node.client("c1", confirms=True)

    node.direct(message("dm_1"), message("dm_2"), message("dm_3"))

    assert heard(client) == ["dm_1", "dm_2"]
    assert handed_back(node) == [("dm_3", "full")]
    confirm(node, client, "dm_1")
    assert node.uplink.asked_mailbox == [MailboxAsked("bob", "c1")]
    node.direct(SettleAsked("bob", "n1"), message("dm_3"))
    assert heard(client) == ["dm_1", "dm_2", "dm_3"]


@pytest.mark.usefixtures("few")
async def test_what_is_too_much_for_one_client_is_not_kept_from_the_others(
    node: GatewayNode,
) -> None:
    full = node.client("c1", confirms=True)
    node.direct(message("dm_1"), message("dm_2"))
    confirms, plain = node.client("c2", confirms=True), node.client("c3")

    parcel = node.direct(message("dm_3"))

    assert heard(full) == ["dm_1", "dm_2"]
    assert heard(confirms) == heard(plain) == ["dm_3"]
    assert node.acknowledged == [parcel]
    assert handed_back(node) == []


@pytest.mark.usefixtures("few")
async def test_what_was_too_much_for_one_connection_and_another_left_with_is_handed_back(
    node: GatewayNode,
) -> None:
    node.client("c1", confirms=True)
    node.direct(message("dm_1"), message("dm_2"))
    other = node.client("c2", confirms=True)

    node.direct(message("dm_3"))
    assert handed_back(node) == []
    node.leave(other)

    assert handed_back(node) == [("dm_3", "full")]


# ---- what was delivered before (A7) --------------------------------------------------------------


def test_what_is_known_is_reported_again_and_not_written(node: GatewayNode) -> None:
    had = node.client("c1")
    node.direct(message())
    came_later = node.client("c2")

    parcel = node.direct(message(known=True))

    assert (heard(had), heard(came_later)) == (["dm_1"], [])
    assert node.reports == [report("c1"), report("c1")]
    assert node.acknowledged[-1] == parcel


def test_what_is_known_and_nobody_here_has_is_not_handed_back(node: GatewayNode) -> None:
    node.client("c1")

    parcel = node.direct(message(known=True))

    assert node.reports == [report()]
    assert handed_back(node) == []
    assert node.acknowledged == [parcel]


async def test_what_is_known_is_reported_of_a_client_that_has_confirmed_it(
    node: GatewayNode,
) -> None:
    client = node.client("c1", confirms=True)
    node.direct(message())
    confirm(node, client, "dm_1")

    node.direct(message(known=True))

    assert node.reports[-1] == report("c1")


async def test_what_is_known_is_not_called_delivered_while_its_client_has_not_confirmed_it(
    node: GatewayNode,
) -> None:
    """Delivered to such a client is what it has confirmed (A5)."""
    node.client("c1", confirms=True)
    node.direct(message())

    node.direct(message(known=True))

    told = node.reports[-1]
    assert isinstance(told, DirectReceipt)
    assert told.delivered_to == []


# ---- parcels -------------------------------------------------------------------------------------


async def test_a_parcel_is_acknowledged_once_every_message_in_it_is_settled(
    node: GatewayNode,
) -> None:
    careful, waiting = node.client("c1", confirms=True), node.client("c2", "eve", welcomed=False)
    node.client("c3", "carol")
    parcel = node.direct(
        message("dm_1"),
        message("dm_2", target_user="eve"),
        message("dm_3", target_user="nobody"),
        message("dm_4", target_user="carol"),
        message("dm_5", known=True),
    )
    confirm(node, careful, "dm_1")
    node.uplink.confirm()
    assert node.acknowledged == []

    node.welcome(waiting)

    assert node.acknowledged == [parcel]


async def test_parcels_are_acknowledged_each_on_its_own(node: GatewayNode) -> None:
    client = node.client("c1", confirms=True)
    first, second = node.direct(message("dm_1")), node.direct(message("dm_2"))

    confirm(node, client, "dm_2")
    assert node.acknowledged == [second]
    confirm(node, client, "dm_1")

    assert node.acknowledged == [second, first]


def test_what_is_handed_back_is_kept_by_the_broker_here_until_it_has_it_there(
    node: GatewayNode,
) -> None:
    parcel = node.direct(message())
    assert handed_back(node) == [("dm_1", "gone")]
    assert node.acknowledged == []

    node.uplink.confirm()

    assert node.acknowledged == [parcel]


async def test_an_ack_that_comes_while_a_message_is_handed_back_settles_nothing_twice(
    node: GatewayNode,
) -> None:
    first = node.client("c1", confirms=True)
    parcel = node.direct(message("dm_1"), message("dm_2"))
    first.let_time_pass()

    confirm(node, first, "dm_1", "dm_2")
    assert node.acknowledged == []
    node.uplink.confirm()
    assert node.acknowledged == []
    node.uplink.confirm()

    assert node.acknowledged == [parcel]


# ---- together with the owner of the table --------------------------------------------------------


def table_after_what_was_handed_back(node: GatewayNode, *clients: Client) -> set[str]:
    """Return the connections of bob that presence still knows after hearing from the node."""
    leases = Leases()
    leases.renewed(life("n1"))
    owner = PresenceOwner(leases, Limits())
    stage = Stage(owner)
    for one in clients:
        stage.send(life("n1"), ConnectionOpened(Opened("bob", one.connection.id)))
    for command in node.uplink.handed_back:
        stage.send(life("n1"), command)
    return set(owner.directory.connections_at("bob", "n1"))


def test_a_connection_that_is_only_slow_stays_where_it_is_known(node: GatewayNode) -> None:
    client = node.client("c1")
    client.slow = True

    node.direct(message())

    assert table_after_what_was_handed_back(node, client) == {"c1"}


def test_a_connection_whose_socket_is_gone_is_forgotten(node: GatewayNode) -> None:
    client = node.client("c1")
    client.gone = True

    node.direct(message())

    assert table_after_what_was_handed_back(node, client) == set()


def test_a_connection_that_was_never_welcomed_takes_no_other_with_it(node: GatewayNode) -> None:
    """Presence would take bob for gone, while he is here and has the message."""
    ready, waiting = node.client("c1"), node.client("c2", welcomed=False)
    node.direct(message())

    node.leave(waiting)

    assert "c1" in table_after_what_was_handed_back(node, ready, waiting)


async def test_a_connection_that_only_let_a_message_pass_stays_where_it_is_known(
    node: GatewayNode,
) -> None:
    client = node.client("c1", confirms=True)
    node.direct(message())

    client.let_time_pass()

    assert node.uplink.handed_back
    assert table_after_what_was_handed_back(node, client) == {"c1"}


async def test_of_two_connections_only_the_one_that_went_is_forgotten(node: GatewayNode) -> None:
    goes, stays = node.client("c1", confirms=True), node.client("c2", confirms=True)
    node.direct(message(connection_id="c1", queued=True))

    node.leave(goes)

    assert table_after_what_was_handed_back(node, goes, stays) == {"c2"}


def test_the_sender_hears_of_all_connections_though_one_was_welcomed_later(
    node: GatewayNode,
) -> None:
    node.client("c1")
    waiting = node.client("c2", welcomed=False)
    node.direct(message())
    node.welcome(waiting)
    tally = Tally(located=Located("dm_1", "dm_1", ["n1", "n2"]))
    for one in node.reports:
        tally.add(one)

    assert tally.delivered_to == ["c1", "c2"]
