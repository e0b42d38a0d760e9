from ipaddress import ip_network

import pytest

from gateway.core.admission import SPARE_SOCKETS, Admission, Caps, client_address, site
from shared.errors import NodeFull, Overloaded, TooManyConnections, TooManyHandshakes

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # whoever is no proxy is not believed
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the client wrote the first
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.9.9.9, 10.0.0.2"], "10.9.9.9"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_trusted_proxies_are_believed_where_a_client_is(peer, forwarded, address):
    assert client_address(peer, forwarded, PROXIES) == address


def test_without_trusted_proxies_the_peer_is_the_client():
    assert client_address("10.0.0.1", ["198.51.100.1"], []) == "10.0.0.1"


def test_all_addresses_of_one_ipv6_site_are_one():
    assert site("2001:db8:0:1::5") == site("2001:db8:0:1:ffff::9") != site("2001:db8:0:2::5")
    assert site("::ffff:192.0.2.1") == site("192.0.2.1") != site("192.0.2.2")


def test_an_address_has_so_many_sockets_and_others_have_theirs():
    admission = Admission(Caps(address_connections=2), PROXIES, 0.0)
    for _ in range(2):
        admission.connect("192.0.2.1")

    with pytest.raises(TooManyConnections):
        admission.connect("192.0.2.1")
    admission.connect("192.0.2.2")
    admission.disconnect("192.0.2.1")
    admission.connect("192.0.2.1")


def test_a_trusted_proxy_has_as_many_sockets_as_it_needs_and_its_clients_do_not():
    admission = Admission(Caps(address_connections=2), PROXIES, 0.0)
    for _ in range(100):
        admission.connect("10.0.0.1")

    for _ in range(2):
        admission.enter("198.51.100.1")
    with pytest.raises(TooManyConnections):
        admission.enter("198.51.100.1")


def test_sockets_that_say_nothing_cannot_take_all_that_there_are():
    admission = Admission(Caps(connections=5), PROXIES, 0.0)
    for number in range(5 + SPARE_SOCKETS):
        admission.connect(f"192.0.2.{number}")

    with pytest.raises(NodeFull):
        admission.connect("10.0.0.1")


def test_a_full_node_takes_nobody():
    with pytest.raises(NodeFull):
        Admission(Caps(connections=5), [], 0.0).ask("192.0.2.1", 5, 0.0)


def test_an_address_may_ask_so_often_and_others_are_not_held_up():
    admission = Admission(Caps(handshakes=20, accepts=500), [], 0.0)
    for _ in range(40):
        admission.ask("192.0.2.1", 0, 0.0)

    for _ in range(5000):
        with pytest.raises(TooManyHandshakes) as told:
            admission.ask("192.0.2.1", 0, 0.0)
    admission.ask("192.0.2.2", 0, 0.0)
    admission.ask("192.0.2.1", 0, told.value.details["retry_after_ms"] / 1000)


def test_a_node_takes_so_many_at_once_wherever_they_come_from():
    admission = Admission(Caps(handshakes=20, accepts=10), [], 0.0)
    for number in range(20):
        admission.ask(f"192.0.2.{number}", 0, 0.0)

    with pytest.raises(Overloaded) as told:
        admission.ask("192.0.2.99", 0, 0.0)
    assert 0 < told.value.details["retry_after_ms"] <= 200


def test_nothing_is_kept_of_addresses_that_are_gone():
    admission = Admission(Caps(address_connections=2), [], 0.0)
    for number in range(1000):
        admission.connect(f"192.0.{number % 7}.{number % 250}")
        admission.disconnect(f"192.0.{number % 7}.{number % 250}")

    assert not admission._by_address
    assert not admission._sockets


def test_without_limits_everybody_may_come():
    admission = Admission(Caps(), [], 0.0)

    for _ in range(10_000):
        admission.connect("192.0.2.1")
        admission.ask("192.0.2.1", 1_000_000, 0.0)
