"""Performs what a session decides: commands at once, their replies each in its turn."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import structlog
from ulid import ULID

from gateway.commands import Collected, Commands, Work
from gateway.connection import Connection
from gateway.core.batch import Batch
from gateway.core.effects import (
    Answer,
    Ask,
    Confirm,
    Effect,
    Fail,
    Join,
    Leave,
    Look,
    Publish,
    Query,
    Renew,
    Respond,
    Send,
    Serve,
    Several,
    Show,
    Turn,
)
from gateway.core.replies import Lane, Reply, Request, Slot
from gateway.extensions import Extensions
from gateway.node import Node
from gateway.window import Window
from shared.errors import ServiceError
from shared.messages import frames

log = structlog.get_logger()

WINDOW = 64
"""Messages of one connection that may wait for their reply; then its socket is not read."""

WINDOW_BYTES = 4_194_304
"""What they may have in all, but for one alone."""

T = TypeVar("T")

AtOnce = Respond | Fail | Leave | Renew | Confirm


class Performer:
    """Performs the effects of one conversation.

    ``renew`` checks a fresh token; ``end`` writes an error and closes the conversation with it.
    """

    def __init__(
        self,
        node: Node,
        connection: Connection,
        renew: Callable[[Renew], Reply],
        end: Callable[[ServiceError, str | None], None],
    ) -> None:
        self._node = node
        self._connection = connection
        self._renew = renew
        self._end = end
        self._commands = Commands(node, connection, self._spawn)
        self._extensions = Extensions(node, connection, self._spawn)
        self._lanes = {Turn.TOPIC: Lane(), Turn.DIRECT: Lane()}
        self._window = Window(WINDOW, WINDOW_BYTES)
        self._under_way: set[asyncio.Future[Any]] = set()

    def stop(self) -> None:
        """Wait for nothing any more."""
        for one in self._under_way:
            one.cancel()

    async def finish(self, seconds: float) -> None:
        """Wait so long for what is under way to be answered."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)

    async def receive(self, text: str, size: int) -> None:
        """Perform what a text message of ``size`` bytes leads to, once there is room for more."""
        request = Request(time.monotonic(), size=size)
        receive = partial(self._connection.session.receive, text, size=size)
        effect = await self._next(receive, request)
        if isinstance(effect, Several):
            await self._receive_all(effect, request)

    async def receive_binary(self, frame: bytes) -> None:
        """Perform what a binary message leads to, once there is room for one more command."""
        request = Request(time.monotonic(), size=len(frame))
        await self._next(partial(self._connection.session.receive_binary, frame), request)

    async def _receive_all(self, several: Several, request: Request) -> None:
        """Receive the operations of a batch; end it when all are answered (X4)."""
        batch = Batch(
            len(several.operations),
            lambda done: self._respond(Turn.FREE, _summary(several, done), request),
        )
        receive = partial(self._connection.session.receive, in_batch=True)
        for operation in several.operations:
            if not self._connection.ended:
                part = Request(time.monotonic(), batch, len(operation))
                await self._next(partial(receive, operation), part)

    async def _next(self, decide: Callable[..., Effect], request: Request) -> Effect | None:
        """Decide and perform; return what was decided."""
        # First, so that nothing waits between deciding and doing.
        await self._window.enter(request.size)
        if self._connection.ended:
            self._window.leave(request.size)
            return None
        try:
            effect = decide(mint=self._node.mint.next(ULID()), now=time.monotonic())
            request.type = self._connection.session.heard
            self._node.metrics.command(request.type)
            self._perform(effect, request)
        except Exception:
            self._respond(Turn.FREE, self._incident(None), request)
            return None
        return effect

    def _perform(self, effect: Effect, request: Request) -> None:
        commands, extensions = self._commands, self._extensions
        match effect:
            case Join():
                self._start(Turn.TOPIC, effect.id, lambda: commands.join(effect), request)
            case Publish():
                self._start(
                    Turn.TOPIC, effect.command.id, lambda: commands.publish(effect), request
                )
            case Send():
                self._start(Turn.DIRECT, effect.command.id, lambda: commands.send(effect), request)
            case Show():
                self._start(Turn.DIRECT, effect.id, lambda: commands.show(effect), request)
            case Look():
                self._start(Turn.FREE, effect.id, lambda: commands.look(effect), request)
            case Query():
                self._start(Turn.FREE, effect.id, lambda: commands.query(effect), request)
            case Ask() | Serve() | Answer():
                self._start(Turn.FREE, effect.id, lambda: extensions.perform(effect), request)
            case Several():
                pass  # answered when its operations are
            case _:
                self._answer(effect, request)

    def _answer(self, effect: AtOnce, request: Request) -> None:
        """Answer what needs no waiting."""
        match effect:
            case Respond():
                self._respond(effect.turn, effect.reply, request)
            case Fail():
                self._fail(effect, request)
            case Leave():
                self._respond(Turn.TOPIC, self._commands.leave(effect), request)
            case Renew():
                self._respond(Turn.FREE, self._renew(effect), request)
            case Confirm():
                self._node.directs.confirmed(self._connection, effect.message_ids)
                self._respond(Turn.FREE, effect.reply, request)

    def _fail(self, effect: Fail, request: Request) -> None:
        """Say what was wrong; end the conversation if it was once too often."""
        if effect.error.close_code is not None:
            self._end(effect.error, effect.id)
        else:
            self._respond(effect.turn, self.error(effect.error, effect.id), request)

    def renewed(self, left: Leave | None) -> None:
        """Go on without what a fresh token does not grant; tell the client what it has left."""
        self._extensions.follow()
        if left is not None:
            self._respond(Turn.TOPIC, self._commands.leave(left), None)

    # ---- replies in their turn -------------------------------------------------------------------

    def _start(
        self,
        turn: Turn,
        command_id: str | None,
        begin: Callable[[], Collected | Work],
        request: Request,
    ) -> None:
        """Put a command in line now, and its reply in its turn when it comes."""
        slot = self._lanes[turn].open() if turn in self._lanes else None
        try:
            begun = begin()
        except Exception as error:  # whatever it is, the slot must be filled
            begun = _failed(error)
        outcome: asyncio.Future[Any]
        read: Callable[[asyncio.Future[Any]], Reply]
        if isinstance(begun, Collected):
            outcome, read = self._follow(begun.tally), begun.reply
        else:
            outcome, read = self._spawn(begun), asyncio.Future.result
        outcome.add_done_callback(partial(self._finish, turn, slot, command_id, request, read))

    def _spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        """Do something that ends with the conversation at the latest."""
        return self._follow(asyncio.create_task(work))

    def _follow(self, outcome: "asyncio.Future[T]") -> "asyncio.Future[T]":
        self._under_way.add(outcome)
        outcome.add_done_callback(self._under_way.discard)
        return outcome

    def _finish(
        self,
        turn: Turn,
        slot: Slot | None,
        command_id: str | None,
        request: Request,
        read: Callable[["asyncio.Future[Any]"], Reply],
        outcome: "asyncio.Future[Any]",
    ) -> None:
        try:
            reply = read(outcome)
        except asyncio.CancelledError:
            return
        except ServiceError as error:
            reply = self.error(error, command_id)
        except Exception:
            reply = self._incident(command_id)
        reply = replace(reply, request=request)
        self._write([reply] if slot is None else self._lanes[turn].fill(slot, reply))

    def _respond(self, turn: Turn, reply: Reply, request: Request | None) -> None:
        """Write a reply that is there already, in its turn."""
        reply = replace(reply, request=request)
        if turn is Turn.FREE:
            self._write([reply])
        else:
            lane = self._lanes[turn]
            self._write(lane.fill(lane.open(), reply))

    def _write(self, replies: list[Reply]) -> None:
        for reply in replies:
            self._connection.reply(reply.frames)
            if reply.afterwards is not None:
                reply.afterwards()
            if reply.request is not None:
                self._answered(reply.request, failed=reply.failed)

    def _answered(self, request: Request, *, failed: bool) -> None:
        """Make room for another request; measure what this one has taken, its turn included."""
        self._window.leave(request.size)
        self._node.metrics.answered(request.type, request.began_at, time.monotonic())
        if request.batch is not None:
            request.batch.count(failed=failed)

    # ---- errors ----------------------------------------------------------------------------------

    def error(self, error: ServiceError, command_id: str | None) -> Reply:
        """Return the reply to a command that has failed."""
        self._node.metrics.error(error)
        return Reply([frames.error(error, command_id)], failed=True)

    def _incident(self, command_id: str | None) -> Reply:
        """Log the exception that is being handled; tell the client only where to find it (S6)."""
        fault = ServiceError(incident=str(ULID()))
        log.exception(
            "fault",
            action="incident",
            incident=fault.details["incident"],
            connection=self._connection.id,
            user=self._connection.user_id,
        )
        return self.error(fault, command_id)


def _summary(several: Several, batch: Batch) -> Reply:
    if several.id is None:
        return Reply([])
    counts = {"succeeded": batch.succeeded, "failed": batch.failed}
    return Reply([frames.ack(several.id, "ok", **counts)])


async def _failed(error: Exception) -> Reply:
    raise error
