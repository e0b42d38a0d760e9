"""The load of the benchmark tells the truth, and the limit does what it is the limit of."""

import asyncio
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from benchmarks.clients import ID, MARKER, Clients, LoadFailed, Message, Person
from benchmarks.native import build
from benchmarks.processes import Program
from tests.support.cluster import free_ports
from tests.support.scripted import ACCEPTED, CLOSE, PING, PONG, TEXT, Peer, frame, serving

LISTENERS = 50
LARGE_PLACES = (1, 2, 9, 10, 69_999, 70_021)


@pytest.fixture
def limit(tmp_path: Path) -> Iterator[int]:
    """The port of a running limit."""
    [port] = free_ports(1)
    command = [str(build.built("limit")), str(port)]
    with Program(command, log=tmp_path / "limit.log", line="^ready$"):
        yield port


@contextmanager
def crowd(port: int) -> Iterator[Clients]:
    """One that speaks and many that listen."""
    with Clients(patience=0.3) as clients:
        people = [Person(port, "/publish"), *[Person(port, "/")] * LISTENERS]
        assert clients.connect(people, concurrency=10).ready == 1 + LISTENERS
        yield clients


def speech(expected: int) -> list[Message]:
    return [Message(0, expected, f'{{"é": "{MARKER}"}}'), Message(0, expected, MARKER + "\n" * 500)]


@pytest.mark.parametrize("awake", [False, True])
@pytest.mark.parametrize("window", [1, 8])
def test_all_hear_all_that_is_said_in_a_window(limit, window, awake):
    with crowd(limit) as clients:
        said = clients.say(speech(LISTENERS), seconds=0.2, window=window, awake=awake)

    assert said.messages > window
    assert said.deliveries == said.messages * LISTENERS
    assert (said.missing, said.surplus, said.late, said.closed) == (0, 0, 0, 0)
    assert 0 < said.delivery_ms.p50 <= said.delivery_ms.p99 <= said.delivery_ms.max
    assert said.delivery_ms.max == said.message_ms.max
    assert said.seconds > 0
    assert said.cpu_seconds > 0 or awake  # who looks all the time may be idle all of it


def test_all_hear_all_that_is_said_at_a_rate(limit):
    with crowd(limit) as clients:
        said = clients.say(speech(LISTENERS), seconds=0.4, rate=100)

    assert 0 < said.messages <= 40
    assert said.deliveries == said.messages * LISTENERS
    assert (said.missing, said.surplus) == (0, 0)


def test_what_is_not_delivered_is_missing(limit):
    with crowd(limit) as clients:
        said = clients.say(speech(LISTENERS + 7), seconds=0.1, window=1)

    assert (said.messages, said.deliveries, said.missing) == (1, LISTENERS, 7)


def test_what_is_delivered_beyond_the_expected_is_surplus(limit):
    with crowd(limit) as clients:
        said = clients.say(speech(LISTENERS - 7), seconds=0.1, window=1)

    assert said.missing == 0
    assert said.deliveries == said.messages * (LISTENERS - 7)
    assert 0 < said.surplus <= said.messages * 7


def test_who_is_dropped_hears_no_more(limit):
    with crowd(limit) as clients:
        assert clients.drop(1, 31).dropped == 30
        said = clients.say(speech(LISTENERS - 30), seconds=0.1, window=1)
        assert clients.drop(0, 1 + LISTENERS).dropped == LISTENERS - 29

    assert (said.missing, said.surplus, said.closed) == (0, 0, 0)


def test_those_who_connect_later_are_counted_on(limit):
    with crowd(limit) as clients:
        clients.connect([Person(limit, "/publish?who=later"), Person(limit, "/")])
        later = Message(1 + LISTENERS, 1 + LISTENERS, MARKER)
        said = clients.say([later], seconds=0.1, window=1)

    assert said.deliveries == said.messages * (1 + LISTENERS) > 0


def small(marker: bytes) -> bytes:
    """Return frames of five markers: joined, in fragments around a ping, and in a longer one."""
    return (
        frame(marker + b"," + marker + b"~12~" + marker)
        + frame(marker[:5], last=False)
        + frame(b"?", opcode=PING)
        + frame(b"", opcode=0, last=False)
        + frame(marker[5:], opcode=0)
        + frame(marker + b"x" * 200)
    )


def torn(whole: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """Return it once for each place, torn there."""
    for place in places:
        yield from (whole[:place], whole[place:])


def test_an_id_has_the_messages_number_and_is_no_delivery():
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(ACCEPTED)
        for _ in range(2):
            heard.append(peer.hear()[1])
            peer.send(frame(heard[-1][: len(ID)]) + frame(heard[-1][len(ID) :]))
        peer.wait_for_end()

    with serving(script) as port, Clients() as clients:
        clients.connect([Person(port, "/")])
        said = clients.say([Message(0, 1, ID + MARKER)], seconds=0.3, rate=5)

    assert (said.messages, said.deliveries, said.surplus) == (2, 2, 0)
    assert heard == [b"#0000000000#~0000000000~", b"#0000000001#~0000000001~"]


def test_frames_may_be_torn_anywhere_and_hold_several_markers():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(ACCEPTED)
        _, marker = peer.hear()
        large = frame(b"x" * 70_000 + marker)
        short = small(marker)
        for part in [*torn(short, range(len(short))), *torn(large, LARGE_PLACES)]:
            peer.send(part)
            time.sleep(0.0005)  # so that it is mostly read by itself; right in any case
        peer.wait_for_end()

    expected = 5 * len(small(MARKER.encode())) + len(LARGE_PLACES)
    with serving(script) as port, Clients() as clients:
        assert clients.connect([Person(port, "/")]).ready == 1
        said = clients.say([Message(0, expected, MARKER)], seconds=0.01, window=1)

    assert (said.messages, said.deliveries, said.missing, said.surplus) == (1, expected, 0, 0)


def test_it_is_ready_after_its_hellos_and_so_many_messages():
    heard = []

    def script(peer: Peer) -> None:
        request = peer.request()
        assert request.startswith(b"GET /ws?token=x HTTP/1.1\r\n")
        peer.send(ACCEPTED + frame(b"welcome"))  # together
        heard.extend([peer.hear(), peer.hear()])
        peer.send(frame(b"joined"))
        heard.append(peer.hear())
        peer.wait_for_end()

    hellos = ((0, '{"first": 1}'), (1, "join:a"), (2, "last"))
    with serving(script) as port, Clients() as clients:
        connected = clients.connect([Person(port, "/ws?token=x", 2, hellos)])

    assert (connected.ready, connected.failed, connected.reason) == (1, 0, "")
    assert heard == [(TEXT, b'{"first": 1}'), (TEXT, b"join:a"), (TEXT, b"last")]
    assert 0 < connected.p50_ms <= connected.p99_ms


def test_pings_are_answered_and_so_are_heartbeats_in_text():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(ACCEPTED + frame(b"abc", opcode=PING))
        assert peer.hear() == (PONG, b"abc")
        peer.send(frame(b"2"))
        assert peer.hear() == (TEXT, b"3")
        peer.send(frame(b"22"))
        peer.wait_for_end()

    with serving(script) as port, Clients(answer=("2", "3")) as clients:
        assert clients.connect([Person(port, "/", ready=1)]).ready == 1
        assert clients.idle(0.05).messages == 0


def test_idle_clients_count_what_comes():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(ACCEPTED)
        with suppress(ConnectionError):  # until the client goes
            while True:
                peer.send(frame(b"text") + frame(b"binary", opcode=2))
                time.sleep(0.001)

    with serving(script) as port, Clients() as clients:
        clients.connect([Person(port, "/")])
        assert clients.idle(0.2).messages > 1


def test_a_refused_handshake_is_told_with_its_status():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b'HTTP/1.1 403 "Go away"\r\nContent-Length: 0\r\n\r\n')
        peer.wait_for_end()

    with serving(script) as port, Clients() as clients:
        connected = clients.connect([Person(port, "/")])

    assert (connected.ready, connected.failed, connected.closed) == (0, 1, 0)
    assert connected.reason == "HTTP/1.1 403 ?Go away?"


def test_nobody_at_a_port_is_told():
    with Clients() as clients:
        connected = clients.connect([Person(free_ports(1)[0], "/")])

    assert (connected.failed, connected.reason) == (1, "read: Connection refused")


def test_who_is_closed_by_the_server_is_counted_with_the_code():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(ACCEPTED)
        peer.hear()
        peer.send(frame((4401).to_bytes(2, "big") + b"who?", opcode=CLOSE))
        assert peer.hear() == (CLOSE, (4401).to_bytes(2, "big"))
        peer.wait_for_end()

    with serving(script) as port, Clients() as clients:
        connected = clients.connect([Person(port, "/", 1, ((0, "hello"),))])

    assert (connected.failed, connected.reason) == (1, "closed with 4401")
    assert (connected.closed, connected.close_code) == (1, 4401)


def test_who_goes_without_a_word_is_counted_too():
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(ACCEPTED)
        assert peer.hear() == (TEXT, b"hello")

    with serving(script) as port, Clients() as clients:
        connected = clients.connect([Person(port, "/", 1, ((0, "hello"),))])

    assert (connected.failed, connected.reason) == (1, "closed without a word")
    assert (connected.closed, connected.close_code) == (1, 1006)


def test_what_cannot_be_said_is_refused():
    with Clients() as clients, pytest.raises(LoadFailed, match="without a known speaker"):
        clients.say([Message(0, 1, MARKER)], seconds=1, window=1)


def test_the_load_needs_lines():
    with pytest.raises(ValueError, match="holds a tab"):
        Message(0, 1, MARKER + "\0").line()


async def test_any_client_may_speak_to_the_limit(limit):
    url = f"http://127.0.0.1:{limit}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/publish") as speaker,
        session.ws_connect(url) as listener,
        asyncio.timeout(20),
    ):
        for length in (1, 125, 126, 65_535, 65_536):
            await speaker.send_str("é" + "x" * (length - 1))
            assert await listener.receive_str() == "é" + "x" * (length - 1)
        await listener.ping(b"abc")
        await listener.close(code=4000)
        assert listener.close_code == 4000


def test_the_limit_keeps_what_a_slow_listener_does_not_take_yet(limit):
    text = b"x" * 10_000
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or the kernel would keep it
        slow.connect(("127.0.0.1", limit))
        peer = Peer(slow)
        peer.send(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        accepted = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of the sample key; pragma: allowlist secret
        assert b"Sec-WebSocket-Accept: " + accepted in peer.request()
        with Clients(patience=0.1) as clients:
            people = [Person(limit, "/publish"), Person(limit, "/")]
            assert clients.connect(people).ready == 2
            said = clients.say([Message(0, 1, text.decode() + MARKER)], seconds=0.3, rate=2000)
        for number in range(said.messages):
            assert peer.exactly(10_016) == frame(text + b"~%010d~" % number)


def test_without_a_compiler_it_is_said_what_is_needed(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "BUILT", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")

    with pytest.raises(build.NotBuilt, match="'no-such-compiler' is not there: set CC"):
        build.built("limit")
