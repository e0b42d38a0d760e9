"""The frames that are written to sockets: gateway/outbox.py."""

import random
import socket
import struct
import zlib

import pytest

from gateway.core.wire import WINDOW_BITS, binary_frame, compressed_frame, text_frame
from gateway.outbox import Outbox, Written
from shared.errors import SlowConsumer


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (1, b"\x81\x01"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (127, b"\x81\x7e\x00\x7f"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        (1_000_000, b"\x81\x7f\x00\x00\x00\x00\x00\x0f\x42\x40"),
    ],
)
def test_a_text_message_is_one_final_unmasked_frame_with_the_shortest_length(size, header):
    payload = b"x" * size

    assert text_frame(payload) == header + payload


def test_a_binary_message_is_a_frame_of_its_own_kind():
    assert binary_frame(b"\x00") == b"\x82\x01\x00"


JSON = b'{"name": "value"}' * 100


@pytest.mark.parametrize("frame", [text_frame(JSON), binary_frame(JSON), text_frame(JSON * 50)])
def test_a_compressed_frame_says_that_it_is_and_what_the_other_does(frame):
    compressed = compressed_frame(frame)

    assert len(compressed) < len(frame) / 2
    assert compressed[0] == frame[0] | 0x40
    start = {126: 4, 127: 10}.get(compressed[1], 2)
    payload = compressed[start:] + b"\x00\x00\xff\xff"
    assert frame.endswith(zlib.decompressobj(-WINDOW_BITS).decompress(payload))


NOISE = random.Random(1).randbytes(5000)  # noqa: S311 - noise, no secret


@pytest.mark.parametrize("payload", [b"", b"x" * 500, b"x" * 131_072, NOISE], ids=len)
def test_what_is_small_or_huge_or_does_not_get_smaller_is_left_as_it_is(payload):
    frame = text_frame(payload)
    assert compressed_frame(frame) is frame


LIMIT = 1000


class Wire:
    """A transport and its protocol: holds back what is written while it is paused."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.held = 0
        self.writing_paused = False
        self.closing = self.gone = self.aborted = self.resets = False

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.held

    def write(self, data: bytes) -> None:
        if self.gone:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.written.append(data)

    def get_extra_info(self, name: str) -> "Wire":
        assert name == "socket"
        return self

    def setsockopt(self, *option: object) -> None:
        self.resets = option == (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_what_the_socket_takes_counts_as_written(wire):
    assert Outbox(wire, wire, LIMIT).write(b"frame") is Written.SENT
    assert wire.written == [b"frame"]


def test_what_a_slow_reader_holds_back_is_the_transports_until_it_reads_on(wire):
    wire.writing_paused, wire.held = True, 500

    assert Outbox(wire, wire, LIMIT).write(b"frame") is Written.HELD
    assert wire.written == [b"frame"]


def test_a_reader_may_lag_behind_up_to_the_bound_and_no_further(wire):
    outbox = Outbox(wire, wire, LIMIT)
    wire.held = LIMIT - 3

    outbox.write(b"123")
    with pytest.raises(SlowConsumer):
        outbox.write(b"1234")
    assert wire.written == [b"123"]


def test_one_large_message_to_a_reader_that_keeps_up_is_written_whatever_its_size(wire):
    assert Outbox(wire, wire, LIMIT).write(b"x" * (LIMIT + 1)) is Written.SENT


def test_nothing_is_written_to_a_socket_that_is_going_or_gone(wire):
    wire.gone = True
    assert Outbox(wire, wire, LIMIT).write(b"frame") is Written.GONE
    wire.closing = True
    assert Outbox(wire, wire, LIMIT).write(b"frame") is Written.GONE
    assert wire.written == []


def test_a_message_of_any_size_still_reaches_a_reader_that_does_not_lag(wire):
    outbox = Outbox(wire, wire, LIMIT)
    wire.held = LIMIT // 4
    assert not outbox.lags
    outbox.write(b"x" * LIMIT)
    wire.held += 1
    assert outbox.lags
    with pytest.raises(SlowConsumer):
        outbox.write(b"x" * LIMIT)


def test_who_has_caught_up_lags_no_more_for_some_time(wire):
    outbox = Outbox(wire, wire, LIMIT)
    wire.held = LIMIT // 16
    assert outbox.caught_up
    wire.held += 1
    assert not outbox.caught_up
    assert not outbox.lags


def test_what_the_client_has_taken_is_all_but_what_is_held_back(wire):
    outbox = Outbox(wire, wire, LIMIT)
    for _ in range(3):
        outbox.write(b"x" * 10)
    wire.held = 12

    assert outbox.taken == 18


def test_dropping_a_socket_does_not_wait_for_its_reader_nor_leave_it_to_the_kernel(wire):
    Outbox(wire, wire, LIMIT).abort()

    assert wire.aborted
    assert wire.resets
