"""Units of time, and who is believed to be there (C1, C2)."""

import json
from collections.abc import Awaitable, Callable

from tests.protocol.conftest import Name, Started
from tests.support.embedded import Message, Place, token


async def test_server_times_are_seconds_with_a_twin_in_milliseconds(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    await alice.subscribe(name("chat"), f"presence.{name('alice')}")
    await alice.broadcast(name("chat"), 1)
    await alice.direct(name("alice"), 1)
    renewed, _ = await alice.ask("Authenticate", {"token": token(name("alice"))})
    heard: dict[str, Message] = {}
    while len(heard) < 3:
        message = await alice.hear()
        heard[message["type"]] = message["data"]
    for data, field in (
        (alice.welcome, "server_time"),
        (alice.welcome, "expires_at"),
        (heard["Presence"], "last_seen"),
        (heard["Broadcast"]["metadata"], "sent_at"),
        (heard["DirectMessage"]["metadata"], "sent_at"),
        (renewed["data"], "expires_at"),
    ):
        assert type(data[field]) is int
        assert data[field] == data[f"{field}_ms"] // 1000


async def test_the_timestamp_of_a_ping_comes_back_as_it_was(place: Place, name: Name) -> None:
    alice = await place.connect(name("alice"))
    for value in ("12", '"x"', "null", "1e999", "1.50", "123456789012345678901234567890"):
        await alice.raw(f'{{"type":"Ping","data":{{"timestamp":{value}}}}}')
        assert await alice.hear_text() == f'{{"type":"Pong","data":{{"timestamp":{value}}}}}'
    await alice.raw('{"type":"Ping","data":{}}')
    assert json.loads(await alice.hear_text())["data"] == {"timestamp": None}


async def test_the_server_sends_json_pings_only_if_it_is_told_to_and_takes_any_pong(
    place: Place, name: Name, start: Callable[..., Awaitable[Started]]
) -> None:
    alice = await place.connect(name("alice"))
    assert alice.welcome["heartbeat_interval"] == 25
    await alice.say("Pong", {})
    await alice.say("Pong", {"timestamp": "x"})
    assert not await alice.told()
    pinging, _ = await start(json_ping_seconds=1)
    bob = await pinging.connect(name("bob"))
    for _ in range(2):
        ping = await bob.hear()
        assert ping["type"] == "Ping"
        await bob.say("Pong", ping["data"])
    assert not await alice.told()
