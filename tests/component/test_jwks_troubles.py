"""An issuer of tokens that does not answer, or not as it should."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway import keys as fetching
from gateway.keys import PublishedKeys
from tests.component.believing import FAR, SOON, believing, hurry, status, until_it_is
from tests.component.conftest import Start
from tests.support.certificates import Authority
from tests.support.embedded import until
from tests.support.issuer import Issuer, issuing, rsa_key, signed


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


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
