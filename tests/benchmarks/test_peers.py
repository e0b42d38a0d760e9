"""What clients of the peers send, and what is told of a comparison."""

import json

import pytest

from benchmarks.clients import MARKER, Latency, Said
from benchmarks.measuring import Run
from benchmarks.outcomes import Figure
from benchmarks.peers import PEERS, NotInstalled
from benchmarks.peers.peer import make_once, order
from benchmarks.peers.tongues import TOPIC, Centrifugo, Nats, Nchan, Rooms, SocketIO
from benchmarks.rows.peers import Compared, Standing, Turn, held_to, installed
from benchmarks.systems import payload


def test_a_socket_io_client_opens_connects_and_joins_before_it_is_ready():
    listener = SocketIO().listener(80, 7, "chat.a")

    assert listener.path == "/socket.io/?EIO=4&transport=websocket"
    assert listener.hellos == ((1, "40"), (2, '420["join", "chat.a"]'))
    assert listener.ready == 3  # the opening, the connect's answer and the join's acknowledgement


def test_a_socket_io_client_answers_the_servers_heartbeat():
    assert SocketIO().answer == ("2", "3")


def test_a_socket_io_speaker_emits_an_event_without_an_acknowledgement():
    assert SocketIO().speaker(80, 0).hellos == ((1, "40"),)
    assert SocketIO().broadcast("chat.a", "hi") == '42["say", "chat.a", "hi"]'


def test_a_bare_servers_room_is_its_path_and_the_first_word():
    assert Rooms().listener(80, 7, "chat.a").path == "/chat.a"
    assert Rooms().broadcast("chat.a", "hi all") == "chat.a hi all"


def test_nchan_has_the_room_in_both_paths():
    assert Nchan().listener(80, 7, TOPIC).path == f"/listen/{TOPIC}"
    assert Nchan().speaker(80, 0).path == f"/say/{TOPIC}"
    assert Nchan().broadcast(TOPIC, "hi") == "hi"


def test_nchan_cannot_speak_on_another_topic():
    with pytest.raises(ValueError, match="speak on 'bench' only"):
        Nchan().broadcast("other", "hi")


def test_a_nats_client_subscribes_once_it_is_greeted_and_is_ready_when_that_is_done():
    [(after, text)] = Nats().listener(80, 7, "chat.a").hellos

    assert after == 1
    assert text.splitlines(keepends=True)[1:] == ["SUB chat.a 1\r\n", "PING\r\n"]
    assert Nats().listener(80, 7, "chat.a").ready == 2


def test_nats_is_told_how_many_bytes_come():
    assert Nats().broadcast("chat.a", "é") == "PUB chat.a 2\r\né\r\n"


def test_a_centrifugo_client_connects_and_subscribes():
    hellos = Centrifugo().listener(80, 7, "chat.a").hellos

    assert [json.loads(text) for _, text in hellos] == [
        {"id": 1, "connect": {}},
        {"id": 2, "subscribe": {"channel": "chat.a"}},
    ]
    assert json.loads(Centrifugo().broadcast("chat.a", "hi"))["publish"] == {
        "channel": "chat.a",
        "data": "hi",
    }


@pytest.mark.parametrize("tongue", [SocketIO(), Rooms(), Nchan(), Nats(), Centrifugo()])
def test_what_is_said_holds_the_text_and_its_marker_once(tongue):
    said = tongue.broadcast(TOPIC, payload())

    assert payload() in said
    assert said.count(MARKER) == 1


def test_peers_have_names_of_their_own():
    assert len({one.name for one in PEERS}) == len(PEERS)


class Absent:
    name, version, between = "absent", "1", ""

    def install(self):
        raise NotInstalled("there is none")


def test_who_cannot_be_installed_is_left_out_and_it_is_told_why():
    assert installed([Absent()]) == ([], {"absent": "there is none"})


def test_a_command_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NotInstalled, match="no-such-command is not on this machine"):
        order("no-such-command", place=tmp_path)


def test_a_command_that_fails_is_told_with_its_reason(tmp_path):
    with pytest.raises(NotInstalled, match=r"sh -c .* has failed: no network"):
        order("sh", "-c", "echo no network >&2; exit 1", place=tmp_path)


def test_a_place_is_made_once_and_again_for_something_else(tmp_path):
    place, made = tmp_path / "place", []

    for of in ("1.0", "1.0", "1.1"):
        make_once(place, of, lambda place: made.append(list(place.iterdir())))

    assert made == [[], []]


def test_a_place_whose_making_failed_is_made_again(tmp_path):
    def fail(place):
        (place / "half").touch()
        raise NotInstalled("no network")

    with pytest.raises(NotInstalled):
        make_once(tmp_path / "place", "1.0", fail)
    make_once(tmp_path / "place", "1.0", lambda place: (place / "whole").touch())

    assert not (tmp_path / "place/half").exists()
    assert (tmp_path / "place/whole").exists()


def standing(*costs, name="it"):
    latency = Latency(1, 2, 3)
    said = Said(
        messages=1,
        deliveries=1,
        missing=0,
        surplus=0,
        late=0,
        seconds=1,
        cpu_seconds=1,
        delivery_ms=latency,
        message_ms=latency,
        closed=0,
        close_code=0,
    )
    return Standing(
        name,
        [
            Turn(1, {one: Run(said, {"node": us, "broker": 1}, 0.5) for one in (1, 8)})
            for us in costs
        ],
    )


def test_all_processes_count_and_the_share_is_taken_round_by_round():
    assert standing(3, 5, 9).cpu_us(8) == Figure(6, 4, 10)
    assert standing(3, 5, 9).share(standing(1, 5, 1), 8) == Figure(2, 1, 5)


def test_ours_is_held_to_a_share_of_each_that_was_measured_and_has_a_bar():
    names = ("this service, embedded", "ws 8", "nats-server 2", "another 1")
    found = Compared([standing(1, 5, 9, name=one) for one in names], {"nchan": "no nginx"})

    bars = held_to(found, {"ws": (1.1, 0.25), "nats-server": (None, 0.5)}, "one node")

    assert [(one.what.split()[-2], one.most, one.held) for one in bars] == [
        ("ws", 1.1, True),
        ("ws", 0.25, False),
        ("nats-server", 0.5, False),
    ]
