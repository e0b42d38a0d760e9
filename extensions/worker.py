"""Carries out the commands that arrive, each in a handler of its own, and answers them."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import msgspec
import structlog
from msgspec import Raw
from prometheus_client import CollectorRegistry, Counter
from ulid import ULID

from extensions.handlers import Ask, Extension, ExtensionError
from shared.broker import topology
from shared.broker.ports import Address, Arrived, Broker, Channel, raise_when_lost
from shared.cancellation import heed_cancellation
from shared.errors import BrokerUnavailable, OutcomeUnknown, ServiceError, Unroutable
from shared.messages.extensions import (
    ExtensionAnswer,
    ExtensionCommand,
    Failure,
    encode,
    read_command,
)

log = structlog.get_logger()

CONCURRENT = 64
"""Commands of one type that are carried out at a time."""

HANDLER_SECONDS = 4.0
"""For a handler: half a second later nobody waits for its result any more."""

FINISH_SECONDS = HANDLER_SECONDS + 1.0
RETRY_SECONDS = 0.5
OUTCOMES = ("done", "refused", "late", "fault")


class Worker:
    """One process's share in the work of its extensions; others compete for it (X1)."""

    def __init__(
        self,
        broker: Broker,
        node_id: str,
        extensions: Mapping[str, Extension],
        registry: CollectorRegistry,
    ) -> None:
        self._broker = broker
        self._node_id = node_id
        self._extensions = extensions
        self._channel: Channel | None = None
        self._in_hand: set[asyncio.Task[None]] = set()
        outcomes = Counter(
            "realtime_worker_commands",
            "Commands of extensions carried out",
            ["outcome"],
            registry=registry,
        )
        self._outcomes = {one: outcomes.labels(one) for one in OUTCOMES}

    @property
    def ready(self) -> bool:
        """Whether it is handed the commands of all its extensions."""
        return self._channel is not None

    async def run(self) -> None:
        """Work for ever; whenever the connection is lost, begin again."""
        while True:
            try:
                await asyncio.create_task(self._work())
            except BrokerUnavailable as error:
                heed_cancellation()
                log.warning("connection lost", action="reconnect", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def finish(self) -> None:
        """Take up nothing more; wait until what is in hand is answered, but not for too long."""
        channel, self._channel = self._channel, None
        if channel is None:
            return
        with suppress(BrokerUnavailable):
            for kind in self._extensions:
                await channel.cancel(topology.extension(kind).name)
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=FINISH_SECONDS)

    async def _work(self) -> None:
        connection = await self._broker.connect(f"extensions {self._node_id}")
        try:
            channel, publisher = await connection.channel(CONCURRENT), await connection.channel()
            async with asyncio.TaskGroup() as group:
                for wire in (connection, channel, publisher):
                    group.create_task(raise_when_lost(wire))
                await channel.declare(topology.POISON)
                for one in self._extensions.values():
                    queue = topology.extension(one.type)
                    await channel.declare(queue)
                    await channel.consume(queue.name, partial(self._begin, one, channel, publisher))
                self._channel = channel
                log.info("ready", action="serve", extensions=sorted(self._extensions))
        except* BrokerUnavailable as errors:
            raise BrokerUnavailable(str(errors.exceptions[0])) from errors
        finally:
            self._channel = None
            for task in self._in_hand:  # its commands come again, here or elsewhere
                task.cancel()
            await connection.close()

    def _begin(
        self, extension: Extension, channel: Channel, publisher: Channel, arrived: Arrived
    ) -> None:
        task = asyncio.create_task(self._perform(extension, channel, publisher, arrived))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _perform(
        self, extension: Extension, channel: Channel, publisher: Channel, arrived: Arrived
    ) -> None:
        """Carry out a command, answer it, and only then let the broker forget it."""
        answer = encode(await self._answer(extension, arrived))
        while not await _is_answered(publisher, arrived, answer):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(RETRY_SECONDS)
        with suppress(BrokerUnavailable):  # it comes again
            await channel.acknowledge(arrived)

    async def _answer(self, extension: Extension, arrived: Arrived) -> ExtensionAnswer:
        try:
            ask = _ask(read_command(arrived.body), arrived)
        except ValueError as error:  # Python reads no number of more than 4,300 digits
            return self._failed("refused", 400, "Not to be read", {"reason": str(error)})
        try:
            return await self._outcome(extension, ask)
        except Exception:
            fault = ServiceError(incident=str(ULID()))
            log.exception("fault", action="incident", type=extension.type, **fault.details)
            return self._failed("fault", 500, fault.message, fault.details)

    async def _outcome(self, extension: Extension, ask: Ask) -> ExtensionAnswer:
        try:
            async with asyncio.timeout(HANDLER_SECONDS) as deadline:
                result = await extension(ask)
        except ExtensionError as error:
            return self._failed("refused", error.code, error.message, error.details)
        except TimeoutError:
            if not deadline.expired():
                raise
            log.warning("not done in time", action="give up", type=extension.type)
            late = OutcomeUnknown(outcome="unknown")
            return self._failed("late", late.reply_code, late.message, late.details)
        answer = ExtensionAnswer(data=Raw(msgspec.json.encode(result)))
        self._outcomes["done"].inc()
        return answer

    def _failed(
        self, outcome: str, code: int, message: str, details: Mapping[str, object]
    ) -> ExtensionAnswer:
        as_json = {name: Raw(msgspec.json.encode(value)) for name, value in details.items()}
        self._outcomes[outcome].inc()
        return ExtensionAnswer(error=Failure(code, message, as_json))


def _ask(command: ExtensionCommand, arrived: Arrived) -> Ask:
    headers = json.loads(bytes(command.metadata)) if isinstance(command.metadata, Raw) else {}
    return Ask(
        type=command.type,
        data=json.loads(bytes(command.data)),  # unlike others it takes 1e999, too
        from_user=command.from_user,
        connection_id=command.connection_id,
        message_id=arrived.correlation,
        sent_at_ms=command.sent_at_ms,
        id=command.id,
        metadata=headers,
    )


async def _is_answered(publisher: Channel, arrived: Arrived, answer: bytes) -> bool:
    to = Address(queue=arrived.reply_to)
    try:
        with suppress(Unroutable):  # who has asked is gone
            await publisher.publish(answer, to, correlation=arrived.correlation)
    except BrokerUnavailable:  # blocked, perhaps; if it is lost, this is cancelled
        return False
    return True
