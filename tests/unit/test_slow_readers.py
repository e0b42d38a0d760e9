"""Clients that take nothing, and those that have caught up: gateway/slow_readers.py."""

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.connections import Connections
from gateway.slow_readers import MOST_LOOKS, SlowReaders
from shared.errors import SlowConsumer


class Reader(SimpleNamespace):
    """What is looked at of a connection."""

    def __hash__(self) -> int:
        return id(self)

    def end(self, error: Exception) -> None:
        self.ended = error

    def tell_shed(self) -> None:
        self.told += 1


@pytest.fixture
def reader() -> Reader:
    return Reader(id="c", user_id="u", held_back=1, taken=5, shed=0, told=0, ended=None)


@pytest.fixture
def readers(reader: Reader) -> SlowReaders:
    connections: Connections[Any] = Connections()
    connections.add(reader)
    return SlowReaders(connections)


def look(readers: SlowReaders, times: int) -> None:
    for _ in range(times):
        readers.look()


def test_who_takes_not_a_byte_of_what_is_held_back_is_ended_however_little_that_is(readers, reader):
    look(readers, MOST_LOOKS)
    assert reader.ended is None
    look(readers, 1)
    assert isinstance(reader.ended, SlowConsumer)


def test_who_takes_a_byte_now_and_then_is_not_ended(readers, reader):
    for _ in range(5):
        look(readers, MOST_LOOKS)
        reader.taken += 1
    assert reader.ended is None


def test_who_has_once_taken_all_is_looked_at_anew(readers, reader):
    look(readers, MOST_LOOKS)
    reader.held_back = 0
    look(readers, 1)
    reader.held_back = 1
    look(readers, MOST_LOOKS)
    assert reader.ended is None


def test_only_who_was_spared_something_is_told_of_it(readers, reader):
    look(readers, 1)
    assert not reader.told
    reader.shed = 3
    look(readers, 1)
    assert reader.told == 1


def test_nothing_is_remembered_of_who_is_gone(readers, reader):
    look(readers, 1)
    readers._connections.remove(reader)
    look(readers, 1)
    assert not readers._seen
