"""Clients that send: at a steady rate, with few commands under way, and again after a 503."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.clients import ChaosClient
from tests.chaos.history import Acked, Failed, Key, Kind, Sent
from tests.chaos.link import Link, Message, retry_after

UNAVAILABLE = 503
WINDOW = 16
ANSWER_PATIENCE = 30.0
"""Far beyond the promise: whoever is not answered by then will not be."""

GIVE_UP_SECONDS = 120.0

TYPES: dict[Kind, tuple[str, str]] = {
    "broadcast": ("Broadcast", "topic"),
    "direct": ("DirectMessage", "target_user"),
}


@dataclass
class Publisher(ChaosClient):
    """Sends to one route after the other.

    A command that gets a 503 is sent again with the same id on the same connection; on the next
    connection the ``idempotency_key`` tells that it is the same (A7).
    """

    routes: Sequence[tuple[Kind, str]] = ()
    rate: float = 10.0
    _commands: dict[str, Key] = field(default_factory=dict)
    _under_way: "set[asyncio.Task[None]]" = field(default_factory=set)
    _publishing: bool = False
    _publisher: "asyncio.Task[None] | None" = None

    def publish(self) -> None:
        """Begin to send."""
        self._publishing = True
        self._publisher = asyncio.create_task(self._publish(), name=f"{self.name} publishes")

    @property
    def tasks(self) -> "set[asyncio.Task[None]]":
        """All that it is doing."""
        return self._under_way | ({self._publisher} if self._publisher else set())

    async def finish(self) -> None:
        """Begin nothing new, and wait until all that was begun has ended."""
        self._publishing = False
        if self._publisher is not None:
            await self._publisher
        await asyncio.gather(*self._under_way)

    async def _publish(self) -> None:
        for number in itertools.count(1):
            kind, to = self.routes[number % len(self.routes)]
            while len(self._under_way) >= WINDOW:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            if not self._publishing:
                return
            task = asyncio.create_task(self._perform(number, kind, to))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(1 / self.rate)

    async def _perform(self, number: int, kind: Kind, to: str) -> None:
        """See one command to its end, over as many connections as it takes."""
        deadline = self.recorder.now() + GIVE_UP_SECONDS
        key = Key(self.name, number)
        while self.recorder.now() < deadline:
            try:
                async with asyncio.timeout(GIVE_UP_SECONDS):
                    await self.here.wait()
            except TimeoutError:
                return
            link = self.link
            if link is None:
                continue
            reply = await self._ask(link, key, kind, to)
            if reply is None and self.link is link and not link.socket.closed:
                return  # the checker will say that it got no answer
            if reply is None:
                await asyncio.sleep(0.05)
            elif reply["type"] == "Error" and reply["data"]["code"] == UNAVAILABLE:
                await asyncio.sleep(retry_after(reply))
            else:
                return

    async def _ask(self, link: Link, key: Key, kind: Kind, to: str) -> Message | None:
        """Send a command once; return its Ack or Error, or None if there will be none."""
        name, field_name = TYPES[kind]
        command_id = f"{self.name}-{key.number}"
        self._commands[command_id] = key
        message: Message = {
            "type": name,
            "data": {field_name: to, "payload": {"key": list(key)}},
            "id": command_id,
            "metadata": {"idempotency_key": command_id},
        }
        end = link.expect(command_id)
        self.recorder.note(Sent(self.recorder.now(), key, link.name, kind, to))
        if not await link.send(message):
            return None
        try:
            async with asyncio.timeout(ANSWER_PATIENCE):
                return await end
        except TimeoutError:
            return None

    def answered(self, link: Link, message: Message) -> None:
        """Write down an Ack or Error of one of our commands."""
        key = self._commands.get(str(message.get("id")))
        if key is None:
            return
        data, now = message["data"], self.recorder.now()
        if message["type"] == "Ack":
            holders = tuple(data.get("delivered_to") or ())
            recipients = data.get("recipients")
            self.recorder.note(Acked(now, key, link.name, data["status"], recipients, holders))
        else:
            details = data.get("details") or {}
            queued, outcome = details.get("queued"), details.get("outcome", "")
            self.recorder.note(Failed(now, key, link.name, data["code"], queued, outcome))
