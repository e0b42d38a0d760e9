"""How a client comes in, what it may do, and how it goes (S1 to S7)."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable

import pytest
from multidict import CIMultiDict

from tests.component.staging import payloads
from tests.protocol.conftest import Name, Started
from tests.support.api import BackEnd
from tests.support.embedded import Place, Talk, token

UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
PROTOCOL = "Sec-WebSocket-Protocol"
FORGED = token("mallory", secret="another secret that is long enough, but not the right one")
PAGE = ("Origin", "http://localhost:3000")
HOME = "https://app.example.com"


def bearer(credential: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {credential}")


async def knock(
    place: Place, *headers: tuple[str, str], credential: str = ""
) -> tuple[int, CIMultiDict[str]]:
    """Ask for an upgrade; return the status and the headers of the answer."""
    path = f"/ws?token={credential}" if credential else "/ws"
    answer = await place.client.get(path, headers=CIMultiDict([*UPGRADE, *headers]))
    answer.close()
    return answer.status, CIMultiDict(answer.headers)


async def ended(talk: Talk) -> tuple[int, int | None]:
    """Return the code of the Error that comes next, and of the close behind it."""
    error = await talk.hear()
    assert error["type"] == "Error", error
    return error["data"]["code"], await talk.closed()


# ---- coming in -----------------------------------------------------------------------------------


async def test_a_token_comes_in_the_query_a_header_or_a_subprotocol(
    place: Place, name: Name
) -> None:
    one, two = token(name("alice")), token(name("alice"), 1800)
    for talk in (
        await place.open(one),
        await place.open(headers=[bearer(one)]),
        await place.open(protocols=[f"access_token.{one}"]),
    ):
        assert (await talk.hear())["data"]["details"]["user_id"] == name("alice")
    same = (PROTOCOL, f"access_token.{one}")
    assert (await knock(place, bearer(one), same, credential=one))[0] == 101
    for headers in ([bearer(two)], [(PROTOCOL, f"access_token.{two}")]):
        assert (await knock(place, *headers, credential=one))[0] == 400


async def test_the_answered_subprotocol_is_ours_or_the_tokens(place: Place, name: Name) -> None:
    entry = f"access_token.{token(name('alice'))}"
    for offered, answered in (
        (f"realtime.v1, {entry}", "realtime.v1"),
        (f"{entry}, realtime.v9, realtime.v1", "realtime.v1"),
        (f"chat, {entry}", entry),
    ):
        status, headers = await knock(place, (PROTOCOL, offered))
        assert (status, headers[PROTOCOL]) == (101, answered)
    status, headers = await knock(place, credential=token(name("alice")))
    assert (status, PROTOCOL in headers) == (101, False)


async def test_a_program_is_refused_by_status_and_a_browser_hears_why(
    place: Place, name: Name
) -> None:
    expired = token(name("alice"), -3600)
    for answer in (
        await knock(place),
        await knock(place, PAGE),
        await knock(place, credential=FORGED),
        await knock(place, credential=expired),
    ):
        assert (answer[0], answer[1]["WWW-Authenticate"]) == (401, "Bearer")
    for bad in (FORGED, expired):
        assert await ended(await place.open(bad, origin=PAGE[1])) == (401, 4401)
    foreign = ("Origin", "https://evil.example.com")
    assert (await knock(place, foreign, credential=token(name("alice"))))[0] == 403


async def test_the_welcome_comes_first_and_says_what_there_is(place: Place, name: Name) -> None:
    for _ in range(2):
        talk = await place.open(token(name("alice"), 1000))
        await talk.say("Ping", {})
        message = await talk.hear()
        details = message["data"]["details"]
        assert (message["type"], message["data"]["status"]) == ("Status", "connected")
        given = details["connection_id"]
        assert str(uuid.UUID(given, version=4)) == given
        assert details["protocol_version"] == "1.0"
        known = ["broadcast", "direct_message", "presence", "history"]
        assert details["features"][:4] == known
        assert details["heartbeat_interval"] == 25
        assert details["limits"]["message_bytes"] == 65_536
        assert (details["user_id"], bool(details["node_id"])) == (name("alice"), True)
        assert abs(details["expires_at"] - details["server_time"] - 1000) <= 1
    status, _ = await knock(place, (PROTOCOL, "realtime.v9"), credential=token(name("alice")))
    assert status == 400


async def test_a_direct_message_right_after_the_welcome_is_delivered(
    place: Place, name: Name
) -> None:
    alice, carol = await place.people(name("alice"), name("carol"))
    for number in range(25):
        bob = await place.connect(name(f"bob{number}"))
        for one in (alice, carol):  # one of them is on bob's gateway
            [ack] = await one.direct(name(f"bob{number}"), number)
            assert ack["data"]["delivered_to"] == [bob.id]
        assert payloads(await bob.hears(2), "DirectMessage") == [number, number]
        await bob.close()


# ---- the end of a token --------------------------------------------------------------------------


async def test_a_token_is_warned_of_once_and_ends_ten_seconds_after_its_time(
    place: Place, name: Name
) -> None:
    now = int(time.time())
    over = await place.connect(name("over"), iat=now - 100, exp=now - 7)
    soon = await place.connect(name("soon"), iat=now - 3600, exp=now + 59)
    later = await place.connect(name("later"), iat=now - 3600, exp=now + 120)
    brief = await place.connect(name("brief"), lasts=2)  # warned at 80 % of its life
    for one in (over, soon, brief):
        warning = (await one.hear())["data"]
        assert warning == {
            "status": "token_expiring",
            "refresh_required": True,
            "expires_at": one.welcome["expires_at"],
            "expires_at_ms": one.welcome["expires_at_ms"],
        }
        if one is over:
            assert await ended(over) == (401, 4401)
            assert time.time() >= now - 7 + 10
    assert await later.told() == await soon.told() == []


async def test_a_token_is_renewed_in_place(place: Place, name: Name) -> None:
    old = int(time.time()) - 6
    alice = await place.connect(name("alice"), iat=old - 100, exp=old)
    witness = await place.connect(name("witness"), iat=old - 100, exp=old)
    await alice.hears(1)
    await witness.hears(1)
    await alice.subscribe(name("chat"), name("other"))
    for refused in (token(name("mallory")), FORGED, token(name("alice"), -60), "no token"):
        error = await alice.refused("Authenticate", {"token": refused})
        assert error["code"] == 401
    rights = {"subscribe": [name("chat")], "publish": ["#"]}
    fresh = token(name("alice"), permissions=rights)
    renewed, ack = await alice.ask("Authenticate", {"token": fresh}, id="a")
    assert (renewed["data"]["status"], ack["data"]["status"]) == ("renewed", "ok")
    assert renewed["data"]["expires_at"] > old + 3000
    [dropped] = await alice.hears(1)
    assert dropped["data"]["details"] == {"topics": [name("other")], "active_subscriptions": 1}
    assert await ended(witness) == (401, 4401)
    assert (await alice.broadcast(name("chat"), 1))["recipients"] == 1
    assert (await alice.refused("Subscribe", {"topics": [name("other")]}))["code"] == 403


# ---- rights --------------------------------------------------------------------------------------


async def test_a_grant_must_contain_what_is_asked_for(place: Place, name: Name) -> None:
    rights = {
        "subscribe": ["chat.*"],
        "publish": ["chat.a"],
        "direct": ["carol"],
        "presence": ["presence.carol"],
        "history": ["chat.b"],
    }
    asked: list[tuple[str, dict[str, object], str | None]] = [
        ("Subscribe", {"topics": ["chat.a", "chat.*"]}, None),
        ("Subscribe", {"topics": ["chat.#"]}, "subscribe"),
        ("Subscribe", {"topics": ["presence.carol"]}, None),
        ("Subscribe", {"topics": ["presence.*"]}, "presence"),
        ("Broadcast", {"topic": "chat.a", "payload": 1}, None),
        ("Broadcast", {"topic": "chat.b", "payload": 1}, "publish"),
        ("DirectMessage", {"target_user": "carol", "payload": 1}, None),
        ("DirectMessage", {"target_user": "dave", "payload": 1}, "direct"),
        ("History", {"topic": "chat.b"}, None),
        ("History", {"topic": "chat.a"}, "history"),
    ]
    alice = await place.connect(name("alice"), permissions=rights)
    for kind, data, lacking in asked:
        [*_, end] = await alice.ask(kind, data, metadata={"ttl": 1})
        assert end["data"].get("details", {}).get("right") == lacking, (kind, data)
        assert lacking is None or end["data"]["code"] == 403
    admin = await place.connect(name("admin"), permissions={}, roles=["admin"])
    for direct, allowed in ((True, True), (False, False)):
        bob = await place.connect(name("bob"), permissions={"direct": direct})
        [end] = await bob.ask("DirectMessage", {"target_user": name("admin"), "payload": 1})
        assert (end["type"] == "Ack") is allowed
    for kind, data, _ in asked:
        replies = await admin.ask(kind, data, metadata={"ttl": 1})
        assert not [one for one in replies if one["data"].get("code") == 403]


async def test_a_token_without_permissions_may_do_anything_in_development_and_nothing_else(
    place: Place, name: Name, start: Callable[..., Awaitable[Started]]
) -> None:
    bob = await place.connect(name("bob"))
    await bob.subscribe("#")
    await bob.broadcast(name("chat"), 1)
    settings = {"mode": "production", "jwt_issuer": "tests", "allowed_origins": [HOME]}
    closed, _ = await start(**settings)
    alice = await closed.connect(name("alice"), iss="tests")
    for kind, data in (
        ("Subscribe", {"topics": ["a"]}),
        ("Broadcast", {"topic": "a", "payload": 1}),
        ("DirectMessage", {"target_user": name("alice"), "payload": 1}),
    ):
        assert (await alice.refused(kind, data))["code"] == 403


# ---- closing -------------------------------------------------------------------------------------


async def test_a_close_code_says_what_to_do(place: Place, name: Name, ops: BackEnd) -> None:
    bad, big, bob, carol = await place.people(
        *(name(one) for one in ("bad", "big", "bob", "carol"))
    )
    for _ in range(9):
        await bad.raw("nonsense")
        assert (await bad.hear())["data"]["code"] == 400
    await bad.raw("nonsense")
    assert await ended(bad) == (400, 4400)
    await big.raw(" " * 65_537)
    assert await ended(big) == (400, 1009)
    ends = [asyncio.create_task(ended(one)) for one in (bob, carol)]
    await ops.post(f"/users/{name('bob')}/disconnect")
    await ops.post(f"/users/{name('carol')}/disconnect", {"revoke": True})
    assert [await one for one in ends] == [(403, 4409), (403, 4403)]
    await place.connect(name("bob"))  # who may come back
    revoked = await place.connect(name("carol"), iat=time.time() - 1)
    assert await ended(revoked) == (403, 4403)


async def test_a_gateway_that_stops_says_when_to_come_back(
    place: Place, name: Name, start: Callable[..., Awaitable[Started]]
) -> None:
    own, stop = await start()
    alice = await own.connect(name("alice"))
    stopping = asyncio.ensure_future(stop())
    error = (await alice.hear())["data"]
    assert (error["code"], await alice.closed()) == (503, 1012)
    assert 0 <= error["details"]["reconnect_after_ms"] <= 5000
    assert error["details"]["retry_after_ms"] > 0
    await stopping


# ---- what may be tried again ---------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
async def test_429_and_503_say_when_to_try_again(place: Place, name: Name, code: int) -> None:
    alice, worker = await place.people(name("alice"), name("worker"))
    await worker.ask("Register", {"types": [name("X-Work")]})
    await alice.say(name("X-Work"), {}, id="x")
    asked = await worker.hear()
    await worker.ask("Reply", {"to": asked["id"], "error": {"code": code, "message": "Slowly"}})
    [error] = await alice.answers("x")
    assert (error["data"]["code"], error["data"]["details"]["retry_after_ms"]) == (code, 1000)
