"""What makes the metrics of an issuer's keys move; see moving.py."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.keys import PublishedKeys
from tests.component.moving import moves
from tests.support.embedded import Place, token
from tests.support.issuer import issuing


@asynccontextmanager
async def keys_of(url: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Have the gateway believe whoever publishes keys there."""
    node = place.server.node
    keys = PublishedKeys(url, ["RS256"], node.metrics.key_fetches)
    with monkeypatch.context() as until_then:
        until_then.setattr(node.verifier, "_keys", keys)
        fetching = asyncio.create_task(keys.run())
        yield
        fetching.cancel()
        await asyncio.wait([fetching])


@moves('realtime_gateway_key_fetches_total{outcome="done"}')
@asynccontextmanager
async def an_issuer_has_keys(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async with issuing() as issuer, keys_of(issuer.url, place, monkeypatch):
        yield


@moves(
    'realtime_gateway_key_fetches_total{outcome="failed"}',
    'realtime_gateway_refusals_total{reason="keys"}',
)
@asynccontextmanager
async def an_issuer_is_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async with keys_of("http://127.0.0.1:1/", place, monkeypatch):
        await place.client.get(f"/ws?token={token('alice')}")
        yield
