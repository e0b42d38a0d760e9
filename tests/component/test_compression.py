"""Compressed broadcasts for clients that offer to take them (permessage-deflate, RFC 7692)."""

import tracemalloc
import zlib
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from gateway.core import wire
from tests.component.conftest import Start
from tests.support.binary import headed
from tests.support.embedded import Place, Talk, token

OFFERED = "Sec-WebSocket-Extensions"
TEXT = {"list": ["the same again"] * 200}
BODY = b"the same again" * 500
TOO_MUCH = 50_000_000


async def who_takes(place: Place, user: str, bits: int = 15) -> Talk:
    """Connect a client that offers to take compressed messages."""
    talk = await place.open(token(user), compress=bits)
    talk.welcome = (await talk.hear())["data"]["details"]
    return talk


def agreed(talk: Talk) -> str | None:
    """Return what the response to a client's upgrade says of extensions."""
    return talk.socket._response.headers.get(OFFERED)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runs of our compressor; aiohttp's, on the clients' side, is not counted."""
    spy = mock.Mock(wraps=zlib.compressobj)
    monkeypatch.setattr(wire, "zlib", SimpleNamespace(**{**vars(zlib), "compressobj": spy}))
    return spy


async def test_who_offers_that_gets_large_broadcasts_compressed_and_small_ones_and_replies_plain(
    start: Start, runs: Any
) -> None:
    place = await start(compression=True)
    alice, bob = await who_takes(place, "alice"), await who_takes(place, "bob")
    await bob.subscribe("chat")
    said: list[Any] = [1, TEXT, "small", TEXT, TEXT, "x"]
    for one in said:
        await alice.broadcast("chat", one)
    await alice.send(headed({"topic": "chat"}, BODY))
    heard = await bob.hears(len(said) + 1)
    assert [one["data"]["payload"] for one in heard[:-1]] == said
    assert heard[-1]["data"]["body"] == BODY
    assert runs.call_count == 4
    await bob.broadcast("chat", TEXT)
    await bob.close()


async def test_there_is_one_run_of_the_compressor_for_fifty_receivers(
    start: Start, runs: Any
) -> None:
    place = await start(compression=True)
    readers = [await who_takes(place, f"reader-{one}") for one in range(50)]
    for reader in readers:
        await reader.subscribe("chat")
    alice = await place.connect("alice")
    assert (await alice.broadcast("chat", TEXT))["recipients"] == 50
    for reader in readers:
        assert (await reader.hear())["data"]["payload"] == TEXT
    assert runs.call_count == 1


async def test_who_offers_nothing_gets_all_plain(start: Start, runs: Any) -> None:
    place = await start(compression=True)
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat")
    await alice.broadcast("chat", TEXT)
    assert (await bob.hear())["data"]["payload"] == TEXT
    assert agreed(bob) is None
    assert not runs.called


async def test_nothing_is_agreed_on_unless_the_operator_wants_it(place: Place, runs: Any) -> None:
    alice, bob = await place.connect("alice"), await who_takes(place, "bob")
    await bob.subscribe("chat")
    await alice.broadcast("chat", TEXT)
    assert (await bob.hear())["data"]["payload"] == TEXT
    assert agreed(bob) is None
    assert not runs.called


async def test_neither_side_refers_to_earlier_messages(start: Start) -> None:
    place = await start(compression=True)
    said = agreed(await who_takes(place, "bob"))
    assert said is not None
    parameters = [one.strip() for one in said.split(";")]
    assert parameters[0] == "permessage-deflate"
    assert {"server_no_context_takeover", "client_no_context_takeover"} < set(parameters)


@pytest.mark.parametrize(
    ("offer", "is_taken"),
    [
        ("permessage-deflate", True),
        ("permessage-deflate; client_max_window_bits", True),
        ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", True),
        ("permessage-deflate; server_max_window_bits=11", False),
        ("permessage-deflate; server_max_window_bits=99", False),
        ("permessage-deflate; nonsense=1", False),
        ("x-webkit-deflate-frame", False),
        ("permessage-deflate; nonsense=1, permessage-deflate; server_no_context_takeover", True),
    ],
)
async def test_an_offer_is_taken_where_we_can_keep_to_it(
    start: Start, runs: Any, offer: str, *, is_taken: bool
) -> None:
    place = await start(compression=True)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        OFFERED: offer,
    }
    async with place.client.get(f"/ws?token={token('bob')}", headers=upgrade) as response:
        assert response.status == 101
        assert (OFFERED in response.headers) is is_taken
        [connection] = place.server.node.connections.of_user("bob")
        assert connection.plain is not is_taken


async def test_a_refusal_after_the_upgrade_is_never_compressed_by_aiohttp(start: Start) -> None:
    place = await start(compression=True)
    origin = {"Origin": f"http://127.0.0.1:{place.server.port}"}
    talk = await place.open("bad", compress=15, headers=origin)
    assert (await talk.hear())["data"]["code"] == 401
    assert agreed(talk) is None


async def test_a_bomb_closes_with_1009_and_is_never_whole_in_memory(start: Start) -> None:
    place = await start(compression=True)
    bob = await who_takes(place, "bob")
    run = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = run.compress(bytes(TOO_MUCH)) + run.flush(zlib.Z_SYNC_FLUSH)[:-4]
    assert len(bomb) < 50_000
    tracemalloc.start()
    try:
        unmasked = bytes((0xC2, 0xFE)) + len(bomb).to_bytes(2, "big") + bytes(4)
        bob.socket._writer.transport.write(unmasked + bomb)  # its mask is 0 and changes nothing
        assert await bob.closed() == 1009
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < TOO_MUCH / 10


async def test_what_a_client_compresses_is_read(start: Start) -> None:
    place = await start(compression=True)
    alice, bob = await who_takes(place, "alice"), await place.connect("bob")
    await bob.subscribe("chat")
    for number in range(3):
        await alice.broadcast("chat", [number, TEXT])
    assert [one["data"]["payload"][0] for one in await bob.hears(3)] == [0, 1, 2]
