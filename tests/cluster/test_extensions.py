"""Workers of extensions as processes, over a real RabbitMQ (X1)."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from realtime_client import Client, CommandFailed
from standalone.local_cluster import LocalCluster, Service
from tests.support.broker import WRITE_DOWN, Troubled
from tests.support.cluster import Hearing, clients, eventually, url_of
from tests.support.talk import RESUME_SECONDS, SLACK_SECONDS

pytestmark = pytest.mark.rabbitmq

COMMANDS = 40


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """The file in which workers note what they have carried out."""
    path = tmp_path / "done"
    path.touch()
    return path


@contextmanager
def worker(cluster: LocalCluster, done: Path, name: str, **own: str) -> Iterator[Service]:
    """Run a worker process of the helper."""
    settings = {"REALTIME_EXTENSIONS": "tests.support.handlers", "TESTS_DONE": str(done)}
    service = cluster.add("extensions", name, **settings, **own)
    try:
        cluster.wait_ready()
        yield service
    finally:
        cluster.services.remove(service)
        service.stop()


async def ask_all(askers: list[Client], numbers: range) -> list[asyncio.Task[Any]]:
    """Ask for all these numbers, through all these clients in turn."""
    return [
        asyncio.create_task(askers[n % len(askers)].command("X-Work", {"number": n}))
        for n in numbers
    ]


def noted(done: Path) -> list[int]:
    return sorted(map(int, done.read_text().split()))


async def test_workers_compete_and_answer_clients_of_every_gateway(
    cluster: LocalCluster, done: Path
) -> None:
    places = [(url_of(cluster, 0), "alice"), (url_of(cluster, 1), "bob")]
    with worker(cluster, done, "worker-1"), worker(cluster, done, "worker-2"):
        async with clients(*places) as askers:
            results = await asyncio.gather(*await ask_all(askers, range(COMMANDS)))
            assert [result["number"] for result, _ in results] == list(range(COMMANDS))
            assert {result["by"] for result, _ in results} == {"worker-1", "worker-2"}
            with pytest.raises(CommandFailed) as refused:
                await askers[0].command("X-Refuse", {"order": 7})
            assert (refused.value.code, refused.value.details["order"]) == (409, 7)
            with pytest.raises(CommandFailed) as missing:
                await askers[0].command("X-Nobody", {})
            assert missing.value.code == 404
    assert noted(done) == list(range(COMMANDS))


async def test_what_a_killed_worker_had_in_hand_the_other_answers_in_time(
    cluster: LocalCluster, done: Path
) -> None:
    with (
        worker(cluster, done, "worker-1", TESTS_HANG="yes") as hanging,
        worker(cluster, done, "worker-2"),
    ):
        async with clients((url_of(cluster, 0), "alice"), (url_of(cluster, 1), "bob")) as askers:
            asked = await ask_all(askers, range(COMMANDS))
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            hanging.kill()
            results = await asyncio.gather(*asked)
            assert [result["number"] for result, _ in results] == list(range(COMMANDS))
            assert {result["by"] for result, _ in results} == {"worker-2"}
    assert noted(done) == list(range(COMMANDS))


async def test_what_the_only_worker_had_in_hand_when_it_was_killed_is_done_when_it_is_back(
    cluster: LocalCluster, rabbitmq: Troubled, done: Path
) -> None:
    def in_hand() -> bool:
        queues = rabbitmq.ctl("list_queues", "name", "messages_unacknowledged", "--silent")
        return f"extension.X-Work\t{COMMANDS}" in queues

    async with clients((url_of(cluster, 0), "alice"), (url_of(cluster, 1), "bob")) as askers:
        with worker(cluster, done, "worker-1", TESTS_HANG="yes") as hanging:
            asked = await ask_all(askers, range(COMMANDS))
            await eventually(in_hand, RESUME_SECONDS, "all are in the worker's hands")
            hanging.kill()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {getattr(one, "code", None) for one in answers} == {503}
        assert not noted(done)
        with worker(cluster, done, "worker-1"):
            await eventually(lambda: len(noted(done)) == COMMANDS, RESUME_SECONDS, "all are done")
    assert noted(done) == list(range(COMMANDS))


async def test_a_worker_that_is_stopped_finishes_and_leaves_the_rest_to_the_other(
    cluster: LocalCluster, done: Path
) -> None:
    with worker(cluster, done, "worker-1") as stopped, worker(cluster, done, "worker-2"):
        async with clients((url_of(cluster, 0), "alice"), (url_of(cluster, 1), "bob")) as askers:
            asked = await ask_all(askers, range(COMMANDS))
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            stopped.signal(signal.SIGTERM)
            asked += await ask_all(askers, range(COMMANDS, 2 * COMMANDS))
            results = await asyncio.gather(*asked)
    assert [result["number"] for result, _ in results] == list(range(2 * COMMANDS))
    assert noted(done) == list(range(2 * COMMANDS))


@asynccontextmanager
async def bare_program(url: str, kind: str) -> AsyncIterator[None]:
    """Carry out the commands of a type by nothing but what docs/extensions.md tells."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        exchange = await channel.declare_exchange("extensions", "direct", durable=True)
        await channel.declare_queue("poison", passive=True)
        queue = await channel.declare_queue(
            f"extension.{kind}",
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": 20,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "poison",
                "x-max-length": 9999,
                "x-overflow": "reject-publish",
            },
        )
        await queue.bind(exchange, kind)

        async def carry_out(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            command = json.loads(message.body)
            answer = {"data": [command["from_user"], command["data"]]}
            await channel.default_exchange.publish(
                aio_pika.Message(
                    json.dumps(answer).encode(), correlation_id=message.correlation_id
                ),
                routing_key=message.reply_to or "",
            )
            await message.ack()

        await queue.consume(carry_out)
        yield


async def test_any_program_that_speaks_amqp_can_be_a_worker_beside_the_helper(
    cluster: LocalCluster, rabbitmq: Troubled, done: Path
) -> None:
    async with clients((url_of(cluster, 0), "alice")) as [alice]:
        async with bare_program(rabbitmq.url, "X-Bare"):
            assert (await alice.command("X-Bare", {"a": 1}))[0] == ["alice", {"a": 1}]
        with worker(cluster, done, "worker-1"):  # it has declared its queue, and just so
            async with bare_program(rabbitmq.url, "X-Work"):
                results = await asyncio.gather(*await ask_all([alice], range(10)))
        assert {type(result) for result, _ in results} == {dict, list}


@asynccontextmanager
async def serving(client: Client, kind: str) -> AsyncIterator[Hearing]:
    """Register a client; yield what it hears."""
    await client.command("Register", {"types": [kind]})
    hearing = Hearing(client)
    try:
        yield hearing
    finally:
        hearing.stop()


async def test_a_client_of_another_gateway_can_be_the_worker_until_it_goes(
    cluster: LocalCluster,
) -> None:
    places = [(url_of(cluster, 0), "alice"), (url_of(cluster, 1), "bob")]
    async with clients(*places) as (alice, bob):
        async with serving(bob, "X-Dice") as heard:
            asked = asyncio.create_task(alice.command("X-Dice", {"sides": 6}))
            command = await heard.until(lambda one: one["type"] == "X-Dice")
            assert command["metadata"]["from_user"] == "alice"
            await bob.command("Reply", {"to": command["id"], "data": 4})
            assert (await asked)[0] == 4
        await bob.close()
        async with asyncio.timeout(RESUME_SECONDS):
            while await outcome(alice, "X-Dice") != 404:  # the queue goes with its last consumer
                pass


async def outcome(client: Client, kind: str) -> int:
    try:
        await client.command(kind, {"number": 0})
    except CommandFailed as error:
        return error.code
    return 200


async def test_what_a_killed_gateways_client_had_not_answered_is_another_clients(
    cluster: LocalCluster,
) -> None:
    victim = cluster.of("gateway")[1]
    async with AsyncExitStack() as stack:
        places = [(url_of(cluster, 0), "alice"), (url_of(cluster, 1), "bob")]
        alice, bob = await stack.enter_async_context(clients(*places))
        first = await stack.enter_async_context(serving(bob, "X-Coin"))
        asked = asyncio.create_task(alice.command("X-Coin", {}))
        command = await first.until(lambda one: one["type"] == "X-Coin")
        [carol] = await stack.enter_async_context(clients((url_of(cluster, 0), "carol")))
        second = await stack.enter_async_context(serving(carol, "X-Coin"))
        victim.kill()
        try:
            again = await second.until(lambda one: one["type"] == "X-Coin")
            assert again == command
            await carol.command("Reply", {"to": again["id"], "data": "heads"})
            assert (await asked)[0] == "heads"
        finally:
            victim.start()
            await asyncio.to_thread(cluster.wait_ready)


async def test_workers_and_registered_clients_go_on_after_a_restart_of_rabbitmq(
    cluster: LocalCluster, rabbitmq: Troubled, done: Path
) -> None:
    places = [(url_of(cluster, 0), "alice"), (url_of(cluster, 1), "bob")]
    with worker(cluster, done, "worker-1"):
        async with clients(*places) as (alice, bob), serving(bob, "X-Dice") as heard:

            async def answer() -> None:
                answered: set[str] = set()
                while True:
                    command = await heard.until(
                        lambda one: one["type"] == "X-Dice" and one["id"] not in answered, 600
                    )
                    answered.add(command["id"])
                    await bob.send_raw(
                        json.dumps({"type": "Reply", "data": {"to": command["id"], "data": 1}})
                    )

            answering = asyncio.create_task(answer())
            rabbitmq.ctl("eval", WRITE_DOWN)
            await asyncio.to_thread(rabbitmq.kill)
            await asyncio.to_thread(rabbitmq.restart)
            async with asyncio.timeout(RESUME_SECONDS + SLACK_SECONDS):
                for kind in ("X-Dice", "X-Work"):
                    while await outcome(alice, kind) != 200:
                        pass
            answering.cancel()
