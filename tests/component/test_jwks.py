"""Keys of tokens that their issuer publishes, and changes, and does not answer for."""

import asyncio
import gzip
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway import keys as fetching
from gateway.core import keyring
from gateway.keys import PublishedKeys
from shared.errors import KeysUnavailable, Unauthorized
from tests.component.conftest import Start
from tests.support.certificates import Authority
from tests.support.embedded import Place, until
from tests.support.issuer import Issuer, issuing, rsa_key, signed

SOON = 0.05
FAR = 3600.0


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
async def place(start: Start, issuer: Issuer) -> Place:
    """One that believes the issuer, and has heard of its keys."""
    found = await believing(start, issuer)
    await until(lambda: found.server.node.ready, "the keys are here")
    return found


async def believing(start: Start, issuer: Issuer) -> Place:
    return await start(jwt_secret="", jwt_jwks_url=issuer.url)


async def status(place: Place, token: str) -> int:
    """What is answered to who knocks with a token and asks for no upgrade: 400 if it is good."""
    async with place.client.get("/ws", params={"token": token}) as answer:
        return answer.status


async def until_it_is(place: Place, expected: int, token: str) -> None:
    """Knock until the answer is this one, as a client would that comes back."""
    async with asyncio.timeout(10):
        while True:
            if await status(place, token) == expected:
                return
            await asyncio.sleep(SOON)


def hurry(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Have the keyring wait for so long instead."""
    for name, value in seconds.items():
        monkeypatch.setattr(keyring, f"{name.upper()}_SECONDS", value)


# ---- what goes well ------------------------------------------------------------------------------


async def test_a_token_is_believed_by_the_key_that_it_names(place: Place, issuer: Issuer) -> None:
    talk = await place.open(issuer.token("alice"))
    assert (await talk.hear())["data"]["details"]["user_id"] == "alice"
    assert await status(place, signed("alice", rsa_key(), "first")) == 401


async def test_tokens_cause_no_questions_while_their_keys_are_here(
    place: Place, issuer: Issuer
) -> None:
    for _ in range(10):
        assert await status(place, issuer.token("alice")) == 400
    assert issuer.asked == 1


async def test_a_new_key_is_asked_for_when_a_token_names_it_and_then_believed(
    start: Start, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, retry=0.3, refresh=FAR)
    place = await believing(start, issuer)
    await until(lambda: place.server.node.ready, "the keys are here")
    issuer.keys["second"] = rsa_key()
    assert await status(place, issuer.token("alice", "second")) in {401, 503}
    await issuer.is_asked()
    await until_it_is(place, 400, issuer.token("alice", "second"))
    assert await status(place, issuer.token("alice", "first")) == 400


async def test_a_key_that_is_gone_is_believed_no_more_once_the_set_is_fetched_again(
    start: Start, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, retry=SOON, refresh=2 * SOON)
    place = await believing(start, issuer)
    await until(lambda: place.server.node.ready, "the keys are here")
    issuer.keys["second"] = rsa_key()
    old = issuer.token("alice", "first")
    assert await status(place, old) == 400
    del issuer.keys["first"]
    await issuer.is_asked()
    await until_it_is(place, 401, old)
    await until_it_is(place, 400, issuer.token("alice", "second"))


# ---- strangers -----------------------------------------------------------------------------------


async def test_ten_thousand_tokens_with_random_keys_cause_one_question_in_half_a_minute(
    place: Place, issuer: Issuer
) -> None:
    began = time.monotonic()
    verify, stranger = place.server.node.verifier.verify, rsa_key()
    one = signed("mallory", stranger, "somebody's").split(".")
    alice = await place.open(issuer.token("alice"))
    await alice.hear()
    for number in range(10_000):
        with pytest.raises((Unauthorized, KeysUnavailable)):
            verify(signed_as(one, str(uuid.uuid4())))
        if number % 500 == 0:
            assert await status(place, issuer.token("bob")) == 400
            await alice.ask("Ping", {})
    for _ in range(100):
        assert await status(place, signed_as(one, str(uuid.uuid4()))) in {401, 503}
    assert issuer.asked <= 2 + (time.monotonic() - began) / keyring.RETRY_SECONDS


def signed_as(parts: list[str], kid: str) -> str:
    """A token that names another key; nobody gets so far as to see that its signature is old."""
    header = fetching.jwt.utils.base64url_encode(f'{{"alg":"RS256","kid":"{kid}"}}'.encode())
    return ".".join([header.decode(), *parts[1:]])


async def test_to_refuse_an_unknown_key_costs_no_more_than_to_believe_a_known_one(
    place: Place, issuer: Issuer
) -> None:
    good = issuer.token("alice")
    bad = signed_as(good.split("."), "unknown")
    verify = place.server.node.verifier.verify

    def refuse() -> None:
        with pytest.raises((Unauthorized, KeysUnavailable)):
            verify(bad)

    assert cost(refuse) < 2 * cost(lambda: verify(good))


def cost(work: Callable[[], Any]) -> float:
    """Seconds of CPU, the least of several times."""

    def once() -> float:
        began = time.thread_time()
        for _ in range(200):
            work()
        return time.thread_time() - began

    return min(once() for _ in range(5))


@pytest.mark.parametrize("name", ["jku", "x5u"])
async def test_no_address_that_a_token_names_is_followed(
    place: Place, issuer: Issuer, name: str
) -> None:
    elsewhere = issuer.url.replace("/jwks", "/evil")
    for kid in ("first", "unknown"):
        token = signed("mallory", rsa_key(), kid, **{name: elsewhere})
        assert await status(place, token) in {401, 503}
    assert await status(place, issuer.token("alice", **{name: elsewhere})) == 400
    assert issuer.strays == []


# ---- an issuer that does not answer --------------------------------------------------------------


async def silent(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def test_while_the_issuer_is_down_known_keys_go_on_and_unknown_ones_are_503(
    start: Start, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, retry=SOON, refresh=SOON)
    place = await believing(start, issuer)
    await until(lambda: place.server.node.ready, "the keys are here")
    issuer.answer = silent
    for _ in range(3):
        await issuer.is_asked()
    assert await status(place, issuer.token("alice")) == 400
    await until_it_is(place, 503, signed("alice", rsa_key(), "unknown"))
    assert place.server.node.ready
    hurry(monkeypatch, keep=0.0)
    assert await status(place, issuer.token("alice")) == 503
    issuer.answer = issuer.publish
    hurry(monkeypatch, keep=FAR)
    await until_it_is(place, 400, issuer.token("alice"))


async def test_a_gateway_that_has_heard_of_no_key_is_not_ready_and_says_when_to_come_again(
    start: Start, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, first=SOON)
    issuer.answer = silent
    place = await believing(start, issuer)
    token = issuer.token("alice")
    async with place.client.get("/ws", params={"token": token}) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json())["data"]["details"] == {"retry_after_ms": 1000}
    async with place.client.get(
        "/api/v1/cluster", headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert not place.server.node.ready
    issuer.answer = issuer.publish
    await until_it_is(place, 400, token)
    assert place.server.node.ready


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


async def slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(SOON)


def answering(**given: Any) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(**given)

    return answer


BAD = {
    "a redirect": answering(status=302, headers={"Location": "/evil"}),
    "a page": answering(text="<html>", content_type="text/html"),
    "no set": answering(text="{}"),
    "not found": answering(status=404, text='{"keys": []}'),
    "cut off": answering(text='{"keys": []}', headers={"Content-Length": "99"}),
    "too long": answering(text='{"keys": []}' + " " * fetching.MAX_BYTES),
    "endless": endless,
    "slow": slow,
    "packed": answering(body=gzip.compress(b'{"keys": []}'), headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_an_answer_that_is_none_changes_nothing(
    start: Start, issuer: Issuer, bad: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, retry=SOON, refresh=SOON)
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.5)
    place = await believing(start, issuer)
    await until(lambda: place.server.node.ready, "the keys are here")
    issuer.answer = bad
    for _ in range(2):
        await issuer.is_asked()
    assert await status(place, issuer.token("alice")) == 400
    assert issuer.strays == []


async def test_an_issuer_whose_certificate_nobody_vouches_for_is_not_believed(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hurry(monkeypatch, first=SOON)
    Authority(tmp_path).issue("issuer", "127.0.0.1")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "issuer.pem", tmp_path / "issuer.key")
    async with issuing(tls) as issuer:
        with capture_logs() as lines:
            place = await believing(start, issuer)
            await until(lambda: any(one["action"] == "fetch" for one in lines), "it was tried")
        assert "CERTIFICATE_VERIFY_FAILED" in str(lines)
        assert await status(place, issuer.token("alice")) == 503
        assert issuer.asked == 0


async def test_a_fresh_token_whose_key_is_not_known_leaves_the_conversation_as_it_was(
    start: Start, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, retry=SOON, refresh=FAR)
    place = await believing(start, issuer)
    await until(lambda: place.server.node.ready, "the keys are here")
    alice = await place.open(issuer.token("alice"))
    await alice.hear()
    issuer.keys["second"] = rsa_key()
    fresh = {"token": issuer.token("alice", "second")}
    await asyncio.sleep(2 * SOON)  # what the issuer has said is no longer just now
    assert (await alice.refused("Authenticate", fresh))["code"] == 503
    keys = place.server.node.keys
    assert isinstance(keys, PublishedKeys)
    await until(lambda: "second" in keys._ring._keys, "the new key is here")
    renewed, _ = await alice.ask("Authenticate", fresh)
    assert renewed["data"]["status"] == "renewed"
