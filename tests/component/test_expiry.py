"""The end of a token, and its renewal (S3)."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import expiry
from tests.component.conftest import Start
from tests.support.embedded import SECRET, Place, Talk, token

LEFT = 0.5
LEEWAY = 0.3
WARNED = LEFT - 0.2  # at 80 % of a life of one second
EARLY = 0.01
"""What a timer may be ahead by."""

BORN = int(time.time())
BRIEF: dict[str, Any] = {"iat": BORN, "exp": BORN + 1}
"""The times of a token that lives for a second."""


class WallClock:
    """What the gateway takes for the time when it sets its timers."""

    def __init__(self) -> None:
        self.now = BRIEF["exp"] - LEFT


@pytest.fixture(autouse=True)
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Have half of a brief token's life left whenever one is looked at."""
    clock = WallClock()
    monkeypatch.setattr(expiry, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


@pytest.fixture
async def place(start: Start) -> Place:
    """One that ends conversations soon."""
    return await lenient(start, LEEWAY)


async def lenient(start: Start, leeway: float) -> Place:
    """Start one that lets in whose token is over, if not for as long as the tests take."""
    place = await start(jwt_leeway_seconds=leeway)
    place.server.node.verifier._leeway = 3600
    return place


async def next_status(talk: Talk) -> dict[str, Any]:
    message = await talk.hear()
    assert message["type"] == "AuthStatus", message
    data: dict[str, Any] = message["data"]
    return data


async def ended(talk: Talk) -> None:
    error = await talk.hear()
    assert (error["type"], error["data"]["code"]) == ("Error", 401)
    assert await talk.closed() == 4401


async def test_a_warning_comes_once_and_then_the_end(place: Place) -> None:
    began = time.monotonic()
    alice = await place.connect("alice", **BRIEF)
    warning = await next_status(alice)
    assert time.monotonic() > began + WARNED - EARLY
    assert warning.pop("expires_at_ms") == int(alice.welcome["expires_at_ms"])
    assert warning == {
        "status": "token_expiring",
        "expires_at": alice.welcome["expires_at"],
        "refresh_required": True,
    }
    await ended(alice)
    assert time.monotonic() > began + LEFT + LEEWAY - EARLY


async def test_a_long_lived_token_is_warned_of_60_seconds_before_its_end(place: Place) -> None:
    old = BORN - 3600
    soon = await place.connect("soon", iat=old, exp=BORN + 60)
    later = await place.connect("later", iat=old, exp=BORN + 120)
    assert (await next_status(soon))["status"] == "token_expiring"
    assert not await later.told()


@pytest.mark.parametrize("step", [-3600, 3600], ids=["back", "forward"])
async def test_a_clock_that_is_set_by_an_hour_ends_no_session_early_and_keeps_none(
    place: Place, wall_clock: WallClock, step: float
) -> None:
    began = time.monotonic()
    alice = await place.connect("alice", **BRIEF)
    later = await place.connect("later", exp=BORN + 1200)
    wall_clock.now += step
    assert (await next_status(alice))["status"] == "token_expiring"
    assert time.monotonic() > began + WARNED - EARLY
    await ended(alice)
    assert time.monotonic() > began + LEFT + LEEWAY - EARLY
    assert not await later.told()


async def test_who_comes_within_the_leeway_is_warned_at_once(start: Start) -> None:
    place = await lenient(start, 10)
    alice = await place.connect("alice", iat=BORN - 100, exp=BORN - 1)
    assert (await next_status(alice))["status"] == "token_expiring"
    assert not await alice.told()


async def test_a_conversation_goes_on_with_a_renewed_token(place: Place) -> None:
    alice, bob = await place.connect("alice", **BRIEF), await place.connect("bob")
    await alice.subscribe("a")
    await next_status(alice)
    fresh = token("alice", 1000)
    renewed, ack = await alice.ask("Authenticate", {"token": fresh}, id="r")
    assert (renewed["type"], renewed["data"]["status"]) == ("AuthStatus", "renewed")
    assert renewed["data"]["expires_at"] == renewed["data"]["expires_at_ms"] // 1000
    assert abs(renewed["data"]["expires_at"] - time.time() - 1000) < 5
    assert (renewed["id"], ack["data"]) == ("r", {"message_id": "r", "status": "ok"})
    witness = await place.connect("witness", **BRIEF)  # its end comes after alice's would have
    await next_status(witness)
    await ended(witness)
    assert (await bob.broadcast("a", 1))["recipients"] == 1
    assert [one["type"] for one in await alice.told()] == ["Broadcast"]


async def test_a_renewed_token_is_warned_of_and_ends_in_its_turn(place: Place) -> None:
    alice = await place.connect("alice", **BRIEF)
    await next_status(alice)
    await alice.ask("Authenticate", {"token": token("alice", **BRIEF)})
    assert (await next_status(alice))["status"] == "token_expiring"
    await ended(alice)


async def test_a_renewed_tokens_grants_are_the_ones_that_count(place: Place) -> None:
    alice = await place.connect("alice")
    fewer = token("alice", permissions={"publish": ["only.this"]})
    await alice.ask("Authenticate", {"token": fewer})
    assert (await alice.refused("Broadcast", {"topic": "a", "payload": 1}))["code"] == 403
    assert (await alice.refused("Subscribe", {"topics": ["a"]}))["code"] == 403
    await alice.broadcast("only.this", 1)


@pytest.mark.parametrize(
    "refused",
    [
        token("mallory"),
        token("alice", -4000),
        token("alice", secret=SECRET[::-1]),
        token("alice", permissions=[]),
        "no token",
        "",
    ],
    ids=["another user's", "expired", "forged", "odd", "no token", "empty"],
)
async def test_a_token_that_cannot_be_used_changes_nothing(place: Place, refused: str) -> None:
    alice = await place.connect("alice")
    error = await alice.refused("Authenticate", {"token": refused})
    assert error["code"] == 401
    [ack] = await alice.direct("alice", 1)
    assert ack["data"]["status"] == "delivered"
    told = await alice.told()
    assert [one["data"]["from_user"] for one in told] == ["alice"]


async def test_a_refused_renewal_does_not_put_the_end_off(place: Place) -> None:
    alice = await place.connect("alice", **BRIEF)
    await alice.refused("Authenticate", {"token": token("mallory")})
    await next_status(alice)
    await ended(alice)
