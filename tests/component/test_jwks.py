"""Keys of tokens that their issuer publishes, and changes."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway import keys as fetching
from gateway.core import keyring
from shared.errors import KeysUnavailable, Unauthorized
from tests.component.believing import FAR, SOON, believing, hurry, status, until_it_is
from tests.component.conftest import Start
from tests.support.embedded import Place, until
from tests.support.issuer import Issuer, issuing, rsa_key, signed


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
