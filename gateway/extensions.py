"""Extensions (X1): what a connection asks workers for, and what it carries out as a worker."""

from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import UNSET, Raw

from gateway.commands import Work
from gateway.connection import Connection
from gateway.core.effects import Answer, Ask, Serve
from gateway.core.replies import Reply, done
from gateway.node import Node
from gateway.worker import Worker
from shared.broker import topology
from shared.broker.ports import Address
from shared.clock import wall_clock_ms
from shared.errors import BrokerUnavailable, NotFound, OutcomeUnknown, Refused, Unroutable
from shared.messages import extensions, frames


class Extensions:
    """The commands of one connection that have to do with extensions."""

    def __init__(
        self,
        node: Node,
        connection: Connection,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._node = node
        self._connection = connection
        self._spawn = spawn
        self._worker: Worker | None = None

    def perform(self, effect: Ask | Serve | Answer) -> Work:
        """Ask a worker, or be one.

        Raises:
            BrokerUnavailable: nothing was sent.
            NotFound: nobody waits for this answer.
        """
        match effect:
            case Ask():
                return self._ask(effect)
            case Serve():
                return self._serve(effect)
            case Answer():
                return self._answer(effect)

    # ---- asking ----------------------------------------------------------------------------------

    def _ask(self, effect: Ask) -> Work:
        self._node.membership.require_ready()
        command = extensions.ExtensionCommand(
            type=effect.body.type,
            data=effect.body.data,
            from_user=self._connection.user_id,
            connection_id=self._connection.id,
            sent_at_ms=wall_clock_ms(),
            id=effect.id,
            metadata=_headers(effect.metadata),
        )
        return self._asked(effect, extensions.encode(command))

    async def _asked(self, effect: Ask, body: bytes) -> Reply:
        answer = await self._node.answers.of_worker(effect.ask, self._send(effect, body))
        result = extensions.read_answer(answer)
        return done(effect.id, frames.extension_result(effect.body.type, result, effect.id))

    async def _send(self, effect: Ask, body: bytes) -> None:
        """Send a command to the workers or, where there are none, to clients that serve it."""
        kind, ask = effect.body.type, effect.ask
        clients = topology.queue_address(topology.extension_of_clients(kind))
        if not (
            await self._taken(body, topology.extension_address(kind), ask)
            or await self._taken(body, clients, ask)
        ):
            raise NotFound(f"No worker for {kind}")

    async def _taken(self, body: bytes, to: Address, ask: str) -> bool:
        """Return whether there is a queue for a command, which then has it."""
        boot = await self._node.membership.life()
        try:
            await boot.publisher.publish(
                body, to, persistent=True, reply_to=boot.answers, correlation=ask
            )
        except Unroutable:
            return False
        except Refused:
            raise
        except BrokerUnavailable as error:
            raise OutcomeUnknown(outcome="unknown") from error
        return True

    # ---- being the worker ------------------------------------------------------------------------

    def _serve(self, effect: Serve) -> Work:
        if self._worker is None:
            if not self._connection.session.registrations.types:
                return _nothing_served(effect.id)  # whoever may not register costs no channel
            self._worker = Worker(self._node.membership, self._connection)
            self._spawn(self._worker.run())
        return self._worker.serve(effect)

    def follow(self) -> None:
        """Be handed no more what the session does not serve any more."""
        if self._worker is not None:
            self._worker.follow()

    def _answer(self, effect: Answer) -> Work:
        if self._worker is None:
            raise NotFound("No such command waits for an answer")
        return self._worker.answer(effect)


async def _nothing_served(command_id: str | None) -> Reply:
    return done(command_id)


def _headers(members: bytes) -> Any:
    return Raw(b"{" + members + b"}") if members else UNSET
