"""How a client comes in, or is refused (S1, S2)."""

import asyncio
from collections.abc import Iterable

import pytest
from aiohttp import ClientError, web
from multidict import CIMultiDict

from gateway import websocket
from gateway.core.handshake import Offer
from gateway.node import Node
from tests.component.conftest import Start
from tests.support.embedded import Place, Talk, token

UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
PROTOCOL = "Sec-WebSocket-Protocol"
OTHER_SECRET = "another secret that is long enough, but not the right one"
FORGED = token("alice", secret=OTHER_SECRET)
HOME = "https://app.example.com"


def bearer(credential: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {credential}")


async def knock(
    place: Place, *headers: tuple[str, str], credential: str | None = None
) -> tuple[int, CIMultiDict[str]]:
    """Ask for an upgrade; return the status and the headers of the answer."""
    path = "/ws" if credential is None else f"/ws?token={credential}"
    answer = await place.client.get(path, headers=CIMultiDict([*UPGRADE, *headers]))
    answer.close()
    return answer.status, CIMultiDict(answer.headers)


async def welcome_of(talk: Talk) -> str:
    message = await talk.hear()
    assert (message["type"], message["data"]["status"]) == ("Status", "connected")
    return str(message["data"]["details"]["user_id"])


async def production(start: Start) -> Place:
    return await start(mode="production", jwt_issuer="tests", allowed_origins=[HOME])


# ---- tokens --------------------------------------------------------------------------------------


async def test_a_token_may_come_in_the_query(place: Place) -> None:
    assert await welcome_of(await place.open(token("alice"))) == "alice"


async def test_a_token_may_come_in_the_authorization_header(place: Place) -> None:
    talk = await place.open(headers=[bearer(token("alice"))])
    assert await welcome_of(talk) == "alice"


async def test_a_token_may_come_as_a_subprotocol(place: Place) -> None:
    talk = await place.open(protocols=[f"access_token.{token('alice')}"])
    assert await welcome_of(talk) == "alice"


@pytest.mark.parametrize("carrier", ["query", "header", "subprotocol"])
async def test_a_token_of_four_kilobytes_works(place: Place, carrier: str) -> None:
    big = token("alice", padding="x" * 2900)
    assert 4000 < len(big) < 4300
    talk = await {
        "query": lambda: place.open(big),
        "header": lambda: place.open(headers=[bearer(big)]),
        "subprotocol": lambda: place.open(protocols=[f"access_token.{big}"]),
    }[carrier]()
    assert await welcome_of(talk) == "alice"


async def test_two_different_tokens_are_one_too_many(place: Place) -> None:
    one, two = token("alice"), token("alice", 1800)
    for headers in ([bearer(two)], [(PROTOCOL, f"access_token.{two}")]):
        assert (await knock(place, *headers, credential=one))[0] == 400
    both = (PROTOCOL, f"access_token.{one}, access_token.{two}")
    assert (await knock(place, both))[0] == 400
    assert (await knock(place, bearer(one), bearer(two)))[0] == 400


async def test_where_no_token_may_come_in_the_query_it_is_refused_and_the_other_ways_are_open(
    start: Start,
) -> None:
    place = await start(query_tokens=False)
    good = token("alice")
    for headers in ([], [bearer(good)], [("Origin", "http://localhost")]):
        assert (await knock(place, *headers, credential=good))[0] == 400
    async with place.client.get(f"/ws?token={good}") as answer:
        reason = (await answer.json())["data"]["details"]["reason"]
    assert "Authorization" in reason
    assert good not in reason
    assert (await knock(place, bearer(good)))[0] == 101
    assert (await knock(place, (PROTOCOL, f"access_token.{good}")))[0] == 101


async def test_the_same_token_twice_is_fine(place: Place) -> None:
    same = token("alice")
    status, _ = await knock(
        place, bearer(same), (PROTOCOL, f"access_token.{same}"), credential=same
    )
    assert status == 101


@pytest.mark.parametrize("origin", [[], [("Origin", "http://localhost:3000")]], ids=["", "browser"])
async def test_without_a_token_there_is_no_upgrade(
    place: Place, origin: list[tuple[str, str]]
) -> None:
    status, headers = await knock(place, *origin)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "bad",
    [FORGED, token("alice", -3600), "no.token.at-all", "x"],
    ids=["forged", "expired", "dotted", "no JWT"],
)
async def test_a_program_with_a_bad_token_is_refused_by_status(place: Place, bad: str) -> None:
    status, headers = await knock(place, credential=bad)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("bad", [FORGED, token("alice", -3600)], ids=["forged", "expired"])
async def test_a_browser_with_a_bad_token_hears_why(place: Place, bad: str) -> None:
    talk = await place.open(bad, origin="http://localhost:3000")
    error = await talk.hear()
    assert (error["type"], error["data"]["code"]) == ("Error", 401)
    assert await talk.closed() == 4401


# ---- origins -------------------------------------------------------------------------------------


async def statuses(place: Place, credential: str, origins: Iterable[str]) -> dict[str, int]:
    return {
        origin: (await knock(place, ("Origin", origin), credential=credential))[0]
        for origin in origins
    }


async def test_in_production_only_the_listed_origins_may_connect(start: Start) -> None:
    place = await production(start)
    foreign = (
        "null",
        "https://app.example.com.evil.com",
        "https://evil-app.example.com",
        "https://evil.com/https://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com:443",
        "https://app.example.com@evil.com",
        "https://alice@app.example.com",
        "https://app.example.co",
        "https://app.example.com.",
        "https://app.example.com https://evil.com",
        "http://app.example.com",
        "https://APP.example.com",
        "https://app.example.com/",
        "http://localhost",
        place.server.make_url("/").origin().human_repr(),
    )
    good = token("alice", iss="tests")
    assert await statuses(place, good, foreign) == dict.fromkeys(foreign, 403)
    assert await statuses(place, good, [HOME]) == {HOME: 101}
    assert (await knock(place, credential=good))[0] == 101


async def test_a_foreign_origin_is_refused_before_its_token_is_looked_at(start: Start) -> None:
    place = await production(start)
    assert (await knock(place, ("Origin", "https://evil.com"), credential=FORGED))[0] == 403


async def test_in_development_pages_of_this_machine_may_connect(place: Place) -> None:
    own = ("http://localhost", "http://localhost:5173", "http://127.0.0.1:1", "http://[::1]:80")
    assert await statuses(place, token("alice"), own) == dict.fromkeys(own, 101)
    named = [("Host", "box.lan:8081"), ("Origin", "http://box.lan:3000")]
    assert (await knock(place, *named, credential=token("alice")))[0] == 101


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://localhost.evil.com",
        "http://evil-localhost",
        "http://127.0.0.1.evil.com",
        "https://evil.com:8081",
        "https://evil.com/localhost",
        "localhost",
        "http://[::1",
        "http://[evil]",
    ],
)
async def test_in_development_other_origins_are_refused(place: Place, origin: str) -> None:
    status, _ = await knock(place, ("Origin", origin), credential=token("alice"))
    assert status == 403


# ---- subprotocols --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("realtime.v1", "realtime.v1"),
        ("realtime.v1, access_token.T", "realtime.v1"),
        ("access_token.T, realtime.v1", "realtime.v1"),
        ("access_token.T", "access_token.T"),
        ("chat, access_token.T", "access_token.T"),
        ("realtime.v9, realtime.v1", "realtime.v1"),
        ("chat", None),
        ("access_token.T | realtime.v1", "realtime.v1"),
        ("realtime.v1 | access_token.T", "realtime.v1"),
        ("chat | access_token.T", "access_token.T"),
    ],
)
async def test_the_answered_subprotocol_is_ours_or_the_tokens(
    place: Place, offered: str, answered: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The bar separates two lines of the header."""
    good = token("alice")
    headers = [(PROTOCOL, line.replace("T", good)) for line in offered.split(" | ")]
    if "T" not in offered:
        headers.append(bearer(good))
    status, answer = await knock(place, *headers)
    assert status == 101
    assert answer.get(PROTOCOL) == (answered.replace("T", good) if answered else None)
    assert good not in caplog.text


async def test_an_unknown_protocol_version_is_refused(place: Place) -> None:
    status, _ = await knock(place, (PROTOCOL, "realtime.v9"), credential=token("alice"))
    assert status == 400


# ---- no upgrade at all ---------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [{}, {"Origin": "http://localhost"}], ids=["", "browser"])
@pytest.mark.parametrize(
    "credential",
    ["", f"?token={token('alice')}", f"?token={FORGED}"],
    ids=["no token", "good token", "bad token"],
)
async def test_a_plain_request_is_refused_without_a_stack_trace(
    place: Place, credential: str, origin: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    for method in ("GET", "POST", "HEAD"):
        answer = await place.client.request(method, f"/ws{credential}", headers=origin)
        body = await answer.text()
        assert 400 <= answer.status < 500
        assert "Traceback" not in body
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("credential", [token("alice"), FORGED], ids=["good token", "bad token"])
async def test_a_client_that_has_gone_before_its_upgrade_leaves_no_stack_trace(
    place: Place,
    credential: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serving: list[asyncio.Task[None]] = []
    check = websocket._checked_offer

    def check_too_late(request: web.Request, query: dict[str, list[str]], node: Node) -> Offer:
        serving.append(request.task)
        assert request.transport is not None
        request.transport.abort()
        return check(request, query, node)

    monkeypatch.setattr(websocket, "_checked_offer", check_too_late)
    with pytest.raises(ClientError):
        await knock(place, ("Origin", "http://localhost"), credential=credential)
    await asyncio.wait(serving, timeout=60)
    assert serving[0].done()
    assert "Traceback" not in caplog.text
