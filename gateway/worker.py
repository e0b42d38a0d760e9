"""A connected client as a worker: commands of extensions to it, its answers to those who asked.

What it has not answered when its connection goes is given to the next worker (X1).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from gateway.commands import CONFIRM_SECONDS, Work
from gateway.connection import Connection
from gateway.core.effects import Answer, Serve
from gateway.core.replies import Reply, done
from gateway.membership import Boot, Membership
from shared.broker import topology
from shared.broker.ports import Address, Arrived, Channel, raise_when_lost
from shared.cancellation import heed_cancellation
from shared.errors import BrokerUnavailable, NotFound, SlowConsumer, Unroutable
from shared.messages import extensions, frames

log = structlog.get_logger()

PREFETCH = 64
"""Commands of one extension that a client may leave unanswered; then it is handed no more."""

RETRY_SECONDS = 0.5


@dataclass(eq=False)
class Shift:
    """What a client does as a worker during one boot of its node."""

    boot: Boot
    channel: Channel
    types: set[str] = field(default_factory=set)
    """What it is handed."""

    unanswered: dict[str, Arrived] = field(default_factory=dict)
    arrivals: "asyncio.Queue[Arrived]" = field(default_factory=asyncio.Queue)


class Worker:
    """Serves the extensions that its session has registered, from boot to boot."""

    def __init__(self, membership: Membership, connection: Connection) -> None:
        self._membership = membership
        self._connection = connection
        self._registrations = connection.session.registrations
        self._shift: Shift | None = None
        self._wanted = asyncio.Event()
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; on new connections to the broker when they are lost."""
        while True:
            while not self._registrations.types:  # nothing to take a channel for
                self._wanted.clear()
                await self._wanted.wait()
            try:
                await asyncio.create_task(self._run_during(await self._membership.life()))
            except BrokerUnavailable as error:
                heed_cancellation()
                log.info("registrations lost", action="register", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _run_during(self, boot: Boot) -> None:
        channel = await boot.consume.channel(PREFETCH)
        shift = self._shift = Shift(boot, channel)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(raise_when_lost(channel))
                group.create_task(self._consume_what_is_wanted(shift))
                group.create_task(self._hand_over_all(shift))
        except* BrokerUnavailable as errors:
            raise BrokerUnavailable(str(errors.exceptions[0])) from errors
        finally:
            self._shift = None
            await channel.close()

    async def _consume_what_is_wanted(self, shift: Shift) -> None:
        while True:
            self._wanted.clear()
            wanted = set(self._registrations.types)
            for kind in wanted - shift.types:
                queue = topology.extension_of_clients(kind)
                await shift.channel.declare(queue)
                await shift.channel.consume(queue.name, shift.arrivals.put_nowait)
                shift.types.add(kind)
            for kind in shift.types - wanted:
                await shift.channel.cancel(topology.extension_of_clients(kind).name)
                shift.types.remove(kind)
            self._progress.set()
            await self._wanted.wait()

    async def _hand_over_all(self, shift: Shift) -> None:
        while True:
            arrived = await shift.arrivals.get()
            try:
                await self._connection.drained()
                frame = _frame(arrived)
            except SlowConsumer as error:
                self._connection.end(error)
            except ValueError as error:
                log.warning("bad command", action="ignore", error=str(error))
                await shift.channel.acknowledge(arrived)
            else:
                shift.unanswered[arrived.correlation] = arrived
                self._connection.reply([frame])

    # ---- what the client asks for ----------------------------------------------------------------

    def follow(self) -> None:
        """Begin to be handed what is registered, and no more."""
        self._wanted.set()

    async def serve(self, effect: Serve) -> Reply:
        """Return once exactly that is handed over that is registered.

        Raises:
            BrokerUnavailable: not confirmed in time; what was new is not registered.
        """
        self.follow()
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await self._until(self._is_served)
        except TimeoutError as error:
            self._registrations.remove(effect.new)
            self.follow()
            raise BrokerUnavailable("The registration was not confirmed in time") from error
        return done(effect.id)

    def _is_served(self) -> bool:
        handed = self._shift.types if self._shift is not None else set()
        return handed == self._registrations.types

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._progress.clear()
            await self._progress.wait()

    def answer(self, effect: Answer) -> Work:
        """Hand an answer to whoever asked.

        Raises:
            NotFound: the command is not this client's to answer, or is answered.
        """
        shift = self._shift
        if shift is None or effect.to not in shift.unanswered:
            raise NotFound("No such command waits for an answer")
        return self._answer(effect, shift, shift.unanswered.pop(effect.to))

    async def _answer(self, effect: Answer, shift: Shift, asked: Arrived) -> Reply:
        to = Address(queue=asked.reply_to)
        try:
            with suppress(Unroutable):  # who has asked is gone
                await shift.boot.publisher.publish(effect.answer, to, correlation=asked.correlation)
        except BrokerUnavailable:
            shift.unanswered[effect.to] = asked  # it may be tried again
            raise
        with suppress(BrokerUnavailable):  # it comes again, to whoever serves it next
            await shift.channel.acknowledge(asked)
        return done(effect.id)


def _frame(asked: Arrived) -> bytes:
    if not asked.correlation:
        raise ValueError("nothing tells what an answer would belong to")
    return frames.extension_command(extensions.read_command(asked.body), asked.correlation)
