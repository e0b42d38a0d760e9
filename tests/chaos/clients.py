"""Clients that come back and write down all that they see; they share no code with the product."""

import asyncio
import json
import random
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from standalone.tokens import development_token
from tests.chaos.history import (
    Closed,
    Key,
    Opening,
    PresenceSeen,
    Received,
    Recovery,
    Subscribed,
    Subscribing,
    Welcomed,
)
from tests.chaos.link import Link, Message, retry_after
from tests.chaos.positions import Positions
from tests.chaos.recorder import Recorder

WELCOME_SECONDS = 8.0
HEARTBEAT_SECONDS = 10.0
CONFIRM_SECONDS = 0.05
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0


@dataclass(frozen=True)
class Habits:
    """What a client makes use of."""

    acks: bool = True
    """It confirms direct messages (R2)."""

    recover: bool = True
    """It says where it was when it subscribes again (H3)."""

    @property
    def resumes(self) -> bool:
        return self.acks and self.recover


PLAIN = Habits(acks=False, recover=False)


@dataclass
class ChaosClient:
    """A user's device. It connects to one gateway after the other for as long as it is wanted."""

    name: str
    recorder: Recorder
    session: aiohttp.ClientSession
    urls: Sequence[str]
    patterns: tuple[str, ...] = ()
    habits: Habits = Habits()
    user: str = ""
    rng: random.Random = field(default_factory=random.Random)
    link: Link | None = None
    """The present connection, once it is welcomed."""

    here: asyncio.Event = field(default_factory=asyncio.Event)
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)
    _positions: Positions = field(default_factory=Positions)
    _asked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _recovering: dict[str, dict[str, Message]] = field(default_factory=dict)
    _unconfirmed: list[str] = field(default_factory=list)
    _number: int = 0
    _wanted: bool = False
    _task: "asyncio.Task[None] | None" = None
    _helpers: "set[asyncio.Task[None]]" = field(default_factory=set)

    def __post_init__(self) -> None:
        self.user = self.user or self.name
        self._token = development_token(self.user, ttl_seconds=24 * 3600)

    # ---- coming and going ------------------------------------------------------------------------

    def come(self) -> None:
        """Be connected from now on."""
        self._wanted = True
        self._task = asyncio.create_task(self._stay(), name=self.name)

    async def leave(self) -> None:
        """Close, and stay away."""
        self._wanted = False
        if self.link is not None:
            await self.link.socket.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _stay(self) -> None:
        pause, gateway = FIRST_PAUSE, self.rng.randrange(len(self.urls))
        while self._wanted:
            welcomed = await self._connect(self.urls[gateway])
            gateway = (gateway + 1) % len(self.urls)
            pause = FIRST_PAUSE if welcomed else min(2 * pause, LONGEST_PAUSE)
            if self._wanted:
                await asyncio.sleep(self.rng.uniform(0, pause))

    async def _connect(self, url: str) -> bool:
        """Live through one connection; return whether it was welcomed."""
        self._number += 1
        name, code = f"{self.name}/{self._number}", None
        now = self.recorder.now()
        self.recorder.note(Opening(now, name, self.name, self.user, self.habits.resumes))
        try:
            async with asyncio.timeout(WELCOME_SECONDS) as patience:
                async with self.session.ws_connect(
                    url,
                    params={"acks": "1"} if self.habits.acks else {},
                    headers={"Authorization": f"Bearer {self._token}"},
                    heartbeat=HEARTBEAT_SECONDS,
                ) as socket:
                    await self._converse(Link(name, socket), patience)
                    code = socket.close_code
        except (TimeoutError, OSError, aiohttp.ClientError):
            pass
        finally:
            welcomed = self.here.is_set()
            self.here.clear()
            self.subscribed.clear()
            if self.link is not None:
                self.link.ended()
                self.link = None
            self.recorder.note(Closed(self.recorder.now(), name, code, wanted=not self._wanted))
        return welcomed

    async def _converse(self, link: Link, patience: asyncio.Timeout) -> None:
        async for frame in link.socket:
            if frame.type is aiohttp.WSMsgType.TEXT:
                message = json.loads(frame.data)
                self._hear(link, message)
                if self.link is not None and patience.when() is not None:
                    patience.reschedule(None)

    # ---- listening -------------------------------------------------------------------------------

    def _hear(self, link: Link, message: Message) -> None:
        data = message["data"]
        match message["type"]:
            case "Status" if data["status"] == "connected":
                self._welcomed(link, data["details"])
            case "Status" if data["status"] == "subscribed":
                self._confirmed(link, message)
            case "Broadcast" | "DirectMessage" as kind:
                self._received(link, kind, data)
            case "Presence":
                now = self.recorder.now()
                seen = PresenceSeen(now, link.name, data["user_id"], data["status"])
                self.recorder.note(seen)
            case "Ack" | "Error":
                self.answered(link, message)
                link.take(message)

    def answered(self, link: Link, message: Message) -> None:
        """Write down the end of a command; for those who have any."""

    def _welcomed(self, link: Link, details: Message) -> None:
        connection_id, node = details["connection_id"], details["node_id"]
        self.recorder.note(Welcomed(self.recorder.now(), link.name, connection_id, node))
        self._positions.begin(details["server_time_ms"])
        self._unconfirmed.clear()
        self.link = link
        self.here.set()
        if self.patterns:
            self._help(self._subscribe(link))

    def _received(self, link: Link, kind: str, data: Message) -> None:
        metadata, now = data["metadata"], self.recorder.now()
        message_id = metadata["message_id"]
        topic = data.get("topic", "")
        self.recorder.note(
            Received(
                now,
                link.name,
                "broadcast" if kind == "Broadcast" else "direct",
                key_of(data["payload"]),
                message_id,
                topic,
                metadata.get("offset"),
                metadata.get("epoch", ""),
                bool(metadata.get("replayed")),
                bool(metadata.get("queued")),
                metadata["sent_at_ms"],
            )
        )
        if kind == "Broadcast":
            self._positions.saw(topic, metadata)
        elif self.habits.acks:
            self._confirm_soon(link, message_id)

    def _confirm_soon(self, link: Link, message_id: str) -> None:
        self._unconfirmed.append(message_id)
        if len(self._unconfirmed) == 1:
            self._help(self._confirm(link))

    async def _confirm(self, link: Link) -> None:
        await asyncio.sleep(CONFIRM_SECONDS)
        if self.link is link:
            ids, self._unconfirmed = self._unconfirmed, []
            await link.send({"type": "Ack", "data": {"message_ids": ids}})

    # ---- subscribing -----------------------------------------------------------------------------

    async def _subscribe(self, link: Link) -> None:
        """Subscribe, and again after every 503, for as long as the connection lives."""
        attempt = 0
        while self.link is link:
            attempt += 1
            command_id = f"subscribe-{attempt}"
            recover = self._positions.of(self.patterns) if self.habits.recover else {}
            body: Message = {"topics": list(self.patterns)}
            if recover:
                body["recover"] = recover
            self._recovering[command_id] = recover
            self.recorder.note(Subscribing(self.recorder.now(), link.name, self.patterns))
            end = link.expect(command_id)
            await link.send({"type": "Subscribe", "data": body, "id": command_id})
            reply = await end
            if reply is None or reply["type"] == "Ack":
                return
            await asyncio.sleep(retry_after(reply))

    def _confirmed(self, link: Link, message: Message) -> None:
        details = message["data"]["details"]
        asked = self._recovering.get(str(message.get("id")), {})
        told = details.get("recovered") or {}
        recoveries = tuple(
            Recovery(
                pattern,
                told.get(pattern) is True,
                position.get("offset"),
                position.get("epoch", ""),
            )
            for pattern, position in asked.items()
        )
        patterns = tuple(details["topics"])
        self.recorder.note(Subscribed(self.recorder.now(), link.name, patterns, recoveries))
        self._positions.hold(patterns)
        self.subscribed.set()

    def _help(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)


def key_of(payload: object) -> Key | None:
    """Return the sender's own name for a message, if it is one of ours."""
    with suppress(TypeError, KeyError, ValueError):
        client, number = payload["key"]  # type: ignore[index]
        return Key(str(client), int(number))
    return None
