import pytest

from router.core.interest_table import InterestTable
from router.core.plan import Plan, plan
from shared.broker.ports import Address
from shared.messages.envelopes import RouteBroadcast
from tests.unit.builders import life

ALIVE = {node: life(node) for node in ("n1", "n2", "n3")}


def table(**reported: list[str]) -> InterestTable:
    found = InterestTable()
    for node, patterns in reported.items():
        found.report(node, patterns, first=True, last=True)
    return found


def to(*nodes: str) -> Plan:
    return Plan(tuple(Address(queue=f"inbox.{one}.b1") for one in nodes), nodes)


SURE = table(n1=["chat.*"], n2=["news"], n3=["chat.a", "#"])


@pytest.mark.parametrize(
    ("topic", "interest", "expected"),
    [
        ("chat.a", SURE, to("n1", "n3")),
        ("news", SURE, to("n2", "n3")),
        ("else", table(n1=[], n2=[], n3=[]), to()),
        # who has not reported in this reign gets everything
        ("else", table(n1=[], n2=[]), to("n3")),
        ("chat.a", table(n2=[]), to("n1", "n3")),
        ("else", InterestTable(), to("n1", "n2", "n3")),
        # an interest of a node that is gone moves nobody
        ("chat.a", table(n1=[], n2=[], n3=[], n9=["chat.a"]), to()),
    ],
)
def test_a_broadcast_goes_to_who_wants_it_and_to_who_has_not_said(topic, interest, expected):
    command = RouteBroadcast("m", topic, b"1")

    assert plan(command, interest, ALIVE) == expected


def test_what_is_for_one_node_goes_to_that_node_alone_while_it_lives():
    for node, expected in (("n2", to("n2")), ("n9", to())):
        command = RouteBroadcast("m", "chat.a", b"1", only_node=node)
        assert plan(command, SURE, ALIVE) == expected


def test_an_inbox_is_that_of_the_present_boot():
    command = RouteBroadcast("m", "a", b"1")
    planned = plan(command, table(n1=["a"]), {"n1": life("n1", "b7")})

    assert planned.addresses == (Address(queue="inbox.n1.b7"),)
