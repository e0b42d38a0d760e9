"""Anything at all on some sockets, and nobody else is disturbed (X7, W9)."""

import asyncio
import gc
import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from aiohttp import WSMsgType
from aiohttp.http_websocket import WebSocketWriter
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.connection import Connection
from gateway.conversation import Conversation
from gateway.core.session import Session
from gateway.outbox import Outbox
from gateway.performer import Performer
from shared.messages.client import BODIES, SERVER_ONLY
from tests.component.junk import Bulk, Junk, text
from tests.support.embedded import Message, Place, Talk, token, until
from tests.support.schemas import misfits

FRAMES = 100_000
VANDALS = 4
BULK = 100
BULK_SECONDS = 60.0
"""Only a test that fails waits so long."""

CHECKED = 50
"""Of so many messages that vandals get, one is compared with the document."""

FRIENDS = ["vandal-0", "vandal-1", "nobody"]
RIGHTS = {
    "subscribe": ["fuzz.#"],
    "publish": ["fuzz.#"],
    "presence": ["presence.*"],
    "history": ["fuzz.#"],
    "direct": FRIENDS,
}

# ---- many frames, and two who talk meanwhile -----------------------------------------------------


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What decides about all junk; ``--seed`` gives it again."""
    asked: int | None = request.config.getoption("seed", None)
    found = secrets.randbits(32) if asked is None else asked
    print(f"again with: --seed {found}")  # noqa: T201 - shown if the test fails
    return found


class Vandal:
    """A client who sends junk, and connects again whenever that has ended the conversation."""

    def __init__(self, place: Place, name: str, seed: int) -> None:
        self._place = place
        self._token = token(name, permissions=RIGHTS)
        self._junk = Junk(f"{seed} {name}", FRIENDS, self._token)
        self._talk: Talk | None = None
        self._heard = self._endings = 0

    async def rampage(self, frames: int) -> None:
        """Send so many frames, in bulks; each is dealt with before the next is sent."""
        for sent in range(0, frames, BULK):
            self._talk = self._talk or await self._connect()
            if not await self._send(self._talk, self._junk.bulk(BULK), f"fence {sent}"):
                await self.leave()
        await self.leave()

    async def leave(self) -> None:
        """Close what is open."""
        if self._talk is not None:
            await self._talk.close()
            self._talk = None
            self._endings += 1

    async def _connect(self) -> Talk:
        talk = await self._place.open(f"{self._token}&acks={self._endings % 2}")
        assert (await talk.hear())["data"]["status"] == "connected"
        return talk

    async def _send(self, talk: Talk, bulk: Bulk, fence: str) -> bool:
        """Send a bulk; return whether the conversation goes on after it."""
        writer = talk.socket._writer
        assert isinstance(writer, WebSocketWriter)
        after = text(json.dumps({"type": "Ping", "data": {}, "id": fence}))
        writer.transport.write(bulk.frames + after)
        if bulk.leaves:
            writer.transport.abort()
            return False
        async with asyncio.timeout(BULK_SECONDS):
            return await self._read_up_to(talk, fence)

    async def _read_up_to(self, talk: Talk, fence: str) -> bool:
        async for frame in talk.socket:
            if frame.type is WSMsgType.BINARY:
                continue
            assert frame.type is WSMsgType.TEXT, frame
            self._heard += 1
            if self._heard % CHECKED == 0:
                assert misfits(json.loads(frame.data)) == []
            if fence in frame.data:
                return True
        return False


@asynccontextmanager
async def talking(speaker: Talk, listener: Talk) -> AsyncIterator[list[Message]]:
    """Have two people talk without pause; yield what the listener hears."""
    heard: list[Message] = []
    over = asyncio.Event()

    async def speak() -> int:
        number = 0
        while not over.is_set():
            number += 1
            ack = await speaker.broadcast("undisturbed", number)
            assert (ack["status"], ack["recipients"]) == ("delivered", 1)
            [answer] = await speaker.direct("listener", number)
            assert answer["data"]["delivered_to"] == [listener.id]
        return number

    async def listen() -> None:
        while True:
            heard.append(await listener.hear())

    async with asyncio.TaskGroup() as group:
        speaking, listening = group.create_task(speak()), group.create_task(listen())
        yield heard
        over.set()
        said = await speaking
        await until(lambda: len(heard) == 2 * said, "all that was said is heard")
        listening.cancel()


def held() -> set[int]:
    """Return how many objects there are of each class that a conversation is made of."""
    gc.collect()
    classes = {Conversation, Connection, Session, Performer, Outbox}
    return set(Counter(type(one) for one in gc.get_objects() if type(one) in classes).values())


def wanted(place: Place) -> set[str]:
    """Return the patterns that the router knows of."""
    owners = [seat.reign.owner for seat in place.server.router._seats if seat.reign]
    tables = [getattr(owner, "table") for owner in owners]  # noqa: B009 - a router's owner has it
    return {pattern for one in tables for held in one._patterns.values() for pattern in held}


async def test_100_000_frames_of_junk_disturb_nobody(
    place: Place, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    speaker, listener = await place.people("speaker", "listener")
    await listener.subscribe("undisturbed")
    node, tasks = place.server.node, len(asyncio.all_tasks())
    vandals = [Vandal(place, f"vandal-{number}", seed) for number in range(VANDALS)]

    with capture_logs() as lines:
        async with talking(speaker, listener) as heard:
            await asyncio.gather(*(one.rampage(FRAMES // VANDALS) for one in vandals))
            await until(lambda: len(node.connections) == 2, "only two are left")

    for kind in ("Broadcast", "DirectMessage"):
        payloads = [one["data"]["payload"] for one in heard if one["type"] == kind]
        assert payloads == list(range(1, len(heard) // 2 + 1))
    assert [one for one in lines if one["log_level"] in {"error", "critical"}] == []
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
    metrics = place.server.registry
    assert not metrics.get_sample_value("realtime_gateway_errors_total", {"code": "500"})
    assert list(node.subscriptions) == ["undisturbed"]
    await until(lambda: wanted(place) == {"undisturbed"}, "the router has forgotten the rest")
    await until(lambda: len(asyncio.all_tasks()) == tasks, "nothing is left running")
    assert held() == {2}


# ---- one message at a time, and each is answered -------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.just("a.b"),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=8), inner, max_size=4),
    ),
    max_leaves=12,
)
FIELDS = ["topics", "topic", "payload", "target_user", "status", "metadata", "token", "timestamp"]
HEADERS = ["ttl", "priority", "echo", "idempotency_key", "from_user"]
commands = st.fixed_dictionaries(
    {
        "type": st.one_of(st.sampled_from(sorted({*BODIES, *SERVER_ONLY})), st.text(max_size=8)),
        "data": st.one_of(
            st.dictionaries(st.sampled_from(FIELDS), st.one_of(values, st.just(["a.b"]))), values
        ),
    },
    optional={
        "metadata": st.one_of(st.dictionaries(st.sampled_from(HEADERS), values), values),
        "timestamp": values,
    },
)


@pytest.fixture
async def trio(place: Place) -> tuple[Talk, Talk, Talk, Iterator[int]]:
    """A vandal, and two who talk undisturbed."""
    vandal, speaker, listener = await place.people("vandal", "speaker", "listener")
    await listener.subscribe("undisturbed")
    return vandal, speaker, listener, count()


Trio = tuple[Talk, Talk, Talk, Iterator[int]]
many = settings(
    max_examples=150,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a miss is waited for: no shrinking
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def undisturbed(speaker: Talk, listener: Talk, number: int) -> None:
    """Check that two others can talk."""
    ack = await speaker.broadcast("undisturbed", number)
    assert (ack["status"], ack["recipients"]) == ("delivered", 1)
    heard = await listener.told()
    assert [one["data"]["payload"] for one in heard] == [number]


@many
@given(said=st.one_of(st.text(), values.map(json.dumps)))
async def test_any_text_that_is_no_command_gets_one_error(trio: Trio, said: str) -> None:
    vandal, speaker, listener, numbers = trio
    await vandal.raw(said.encode("utf-8", "replace").decode())
    error = await vandal.hear()
    assert (error["type"], error["data"]["code"]) == ("Error", 400)
    assert not await vandal.told()
    await undisturbed(speaker, listener, next(numbers))


@many
@given(command=commands)
async def test_anything_like_a_command_is_answered(trio: Trio, command: Message) -> None:
    vandal, speaker, listener, numbers = trio
    number = next(numbers)
    *_, last = await attempt(vandal, command, f"try {number}")
    if last["type"] == "Error":
        assert last["data"]["code"] in {400, 401, 403, 404}, last
    await vandal.told()
    await undisturbed(speaker, listener, number)


async def attempt(talk: Talk, command: Message, command_id: str) -> list[Message]:
    """Send something like a command; return what answers it."""
    await talk.raw(json.dumps({**command, "id": command_id}))
    return await talk.answers(command_id)
