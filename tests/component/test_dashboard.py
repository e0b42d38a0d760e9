"""The dashboard's page and state, and what listening for it costs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientSession

from gateway import dashboard
from gateway.app import admin_pages
from shared.process.admin import admin_server
from tests.support.embedded import PATIENCE, Place, until

State: TypeAlias = dict[str, Any]


@pytest.fixture
async def admin(place: Place) -> AsyncIterator[ClientSession]:
    """A session to the admin port of a running gateway."""
    server = place.server
    pages = admin_pages(server.node)
    async with (
        admin_server(server.settings, server.registry, lambda: server.ready, pages) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


async def look(admin: ClientSession) -> State:
    async with admin.get("/dashboard/state") as answer:
        assert answer.status == 200
        state: State = json.loads(await answer.text())
        return state


async def looked(admin: ClientSession, holds: Callable[[State], bool]) -> State:
    """Look until something holds of the state."""
    async with asyncio.timeout(PATIENCE):
        while not holds(state := await look(admin)):  # noqa: ASYNC110 - the page polls, too
            await asyncio.sleep(0.05)
        return state


def whole(state: State) -> bool:
    return bool(state["gateways"] and len(state["replicas"]) == 2 and state["past"])


@pytest.mark.parametrize("path", [*dashboard.FILES, "/dashboard/state"])
async def test_nothing_of_it_may_be_kept_framed_or_bring_anything_from_elsewhere(
    admin: ClientSession, path: str
) -> None:
    async with admin.get(path) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "frame-ancestors 'none'", "script-src 'self'"} <= {*policy}
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert "://" not in (await answer.text()).replace("http://www.w3.org/2000/svg", "")


async def test_it_tells_the_cluster_and_nobodys_name(place: Place, admin: ClientSession) -> None:
    alice, bob = await place.people("alice-the-person", "bob-the-person")
    await bob.subscribe("topic-of-theirs")
    await alice.broadcast("topic-of-theirs", 1)
    state = await looked(admin, whole)
    assert state["heard"]
    [gateway] = state["gateways"]
    assert (gateway["node"], gateway["connections"]) == (place.server.settings.node_id, 2)
    assert [one["service"] for one in state["replicas"]] == ["router", "presence"]
    assert [one["serves"] for one in state["replicas"]] == [[0, 1], [0, 1]]
    assert state["partitions"] == 2
    text = json.dumps(state)
    assert not [word for word in ("person", "topic-of", alice.id) if word in text]


async def test_nobody_listens_before_somebody_looks_nor_long_after(
    place: Place, monkeypatch: pytest.MonkeyPatch, admin: ClientSession
) -> None:
    def overviews() -> int:
        return sum(one.name == "overview" for one in place.server.broker._connections)

    assert overviews() == 0
    monkeypatch.setattr(dashboard, "SAMPLE_SECONDS", 0.01)
    await look(admin)
    await until(lambda: overviews() == 1, "it listens")
    await look(admin)
    assert overviews() == 1
    monkeypatch.setattr(dashboard, "LINGER_SECONDS", 0.0)
    await until(lambda: overviews() == 0, "it listens no more")
    monkeypatch.setattr(dashboard, "LINGER_SECONDS", 300.0)
    await look(admin)
    await until(lambda: overviews() == 1, "it listens again")


async def test_while_the_broker_is_away_it_answers_and_says_that_nothing_is_heard(
    place: Place, monkeypatch: pytest.MonkeyPatch, admin: ClientSession
) -> None:
    monkeypatch.setattr(dashboard, "SILENT_SECONDS", 1.5)
    await looked(admin, whole)
    place.server.broker.leave()
    state = await looked(admin, lambda state: not state["heard"])
    assert state["gateways"], "what was heard last is kept for a while"
    place.server.broker.away = False
    await looked(admin, lambda state: bool(state["heard"]))
