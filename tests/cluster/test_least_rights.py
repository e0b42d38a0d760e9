"""Every service as a RabbitMQ user of its own that may do no more than it must (W22)."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest
from aio_pika.exceptions import ChannelClosed
from click.testing import CliRunner
from yarl import URL

from realtime_client import CommandFailed
from shared.broker.permissions import PERMISSIONS
from standalone.command_line import commands
from standalone.local_cluster import LocalCluster
from standalone.secrets import COMMANDS_POLICY, definitions
from tests.support.broker import Troubled
from tests.support.cluster import Hearing, clients, make_cluster, url_of

pytestmark = pytest.mark.rabbitmq

MODULES = {
    "router": "router",
    "presence": "presence_service",
    "gateway": "gateway",
    "worker": "extensions",
}


def url_as(user: str, rabbitmq: Troubled) -> str:
    url = URL(rabbitmq.url).with_user(user).with_password(f"{user}-password")
    return str(url.with_path("/realtime"))


def grant(rabbitmq: Troubled) -> None:
    """Import the definitions as ``rabbitmqctl import_definitions`` does, which needs a file."""
    text = definitions({user: f"{user}-password" for user in PERMISSIONS})
    rabbitmq.ctl("eval", f"rabbit_definitions:import_raw(<<{json.dumps(text)}>>).")


@pytest.fixture(scope="module")
def limited(rabbitmq: Troubled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One process of each service, each as its own user."""
    directory = tmp_path_factory.mktemp("limited")
    grant(rabbitmq)
    cluster = make_cluster("", directory, gateways=1)
    (directory / "done").touch()
    [port] = cluster.gateway_ports
    own = {"REALTIME_PORT": str(port), "REALTIME_EXTENSIONS": "tests.support.handlers"}
    try:
        for user, module in MODULES.items():
            cluster.add(
                module,
                user,
                REALTIME_AMQP_URL=url_as(user, rabbitmq),
                TESTS_DONE=str(directory / "done"),
                **own,
            )
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop()


async def test_everything_works_with_the_least_rights(limited: LocalCluster) -> None:
    url = url_of(limited, 0)
    async with clients((url, "alice"), (url, "bob")) as (alice, bob):
        hearing = Hearing(bob)
        await bob.subscribe("chat.*", "presence.*")
        assert (await alice.broadcast("chat.a", 1))["recipients"] == 1
        assert (await alice.direct_message("bob", 2))["status"] == "delivered"
        assert (await alice.direct_message("carol", 3))["status"] == "queued"
        result, _ = await alice.command("X-Work", {"number": 4})
        assert result["number"] == 4
        page, _ = await alice.command("History", {"topic": "chat.a"})
        assert len(page["messages"]) == 1
        await alice.command("Register", {"types": ["X-Own"]})
        with pytest.raises(CommandFailed) as missing:
            await bob.command("X-Missing", {})
        assert missing.value.code == 404
        async with clients((url, "carol")) as (carol,):
            drained = Hearing(carol)
            await drained.until(lambda one: one["type"] == "DirectMessage")
            await hearing.until(lambda one: one["data"].get("user_id") == "carol")
            drained.stop()
        hearing.stop()
    refused = [
        service.node_id for service in limited.services if "ACCESS_REFUSED" in _log(service.log)
    ]
    assert not refused


def _log(path: Path) -> str:
    return path.read_text(errors="replace")


@pytest.mark.parametrize("user", ["gateway", "worker", "operator"])
@pytest.mark.parametrize(
    "queue", ["router.commands.0", "router.log.0", "presence.log.0", "undelivered"]
)
async def test_nobody_else_can_read_commands_logs_or_mailboxes(
    limited: LocalCluster, rabbitmq: Troubled, user: str, queue: str
) -> None:
    assert limited.services
    connection = await aio_pika.connect(url_as(user, rabbitmq))
    async with connection:
        channel = await connection.channel()
        with pytest.raises(ChannelClosed, match="ACCESS_REFUSED"):
            await (await channel.get_queue(queue, ensure=False)).get(fail=False)


def test_new_rights_are_granted_while_rabbitmq_runs(
    limited: LocalCluster, rabbitmq: Troubled
) -> None:
    assert limited.services
    rabbitmq.ctl("set_permissions", "-p", "realtime", "operator", "^$", "^$", "^$")
    grant(rabbitmq)
    listed = rabbitmq.ctl("list_user_permissions", "--no-table-headers", "operator")
    may = PERMISSIONS["operator"]
    assert listed.split() == ["realtime", may.configure, may.write, may.read]


def test_the_operators_user_sees_the_cluster(limited: LocalCluster, rabbitmq: Troubled) -> None:
    shown = CliRunner().invoke(
        commands, ["cluster", "--once", "--amqp-url", url_as("operator", rabbitmq)]
    )
    assert shown.exit_code == 0, shown.output
    assert all(service.node_id in shown.output for service in limited.of("gateway"))


@pytest.mark.parametrize("user", ["operator", "gateway"])
def test_these_users_may_ask_all_processes_about_a_message(
    limited: LocalCluster, rabbitmq: Troubled, user: str
) -> None:
    assert limited.services
    asked = ["trace", "broadcast_unknown", "--amqp-url", url_as(user, rabbitmq)]
    told = CliRunner().invoke(commands, asked)
    assert "None of the 3 processes that answered remembers" in told.output


async def test_a_queue_that_nobody_serves_takes_so_much_and_then_commands_are_503(
    limited: LocalCluster, rabbitmq: Troubled
) -> None:
    [router] = limited.of("router")
    url, most = url_of(limited, 0), 200_000
    small = json.dumps({**COMMANDS_POLICY["definition"], "max-length-bytes": most})
    rabbitmq.ctl(
        "set_policy", "-p", "realtime", "--apply-to", "queues", "commands",
        COMMANDS_POLICY["pattern"], small,
    )  # fmt: skip
    async with clients((url, "alice"), (url, "bob")) as (alice, bob):
        await bob.subscribe("full")
        hearing = Hearing(bob)
        router.signal(signal.SIGSTOP)
        try:
            said = [alice.broadcast("full", {"number": n, "x": "x" * 50_000}) for n in range(30)]
            outcomes = await asyncio.gather(*said, return_exceptions=True)
            held = rabbitmq.ctl("list_queues", "-p", "realtime", "--no-table-headers", "messages")
        finally:
            router.signal(signal.SIGCONT)
        assert {one.code for one in outcomes if isinstance(one, CommandFailed)} == {503}
        in_hand = 8  # the router has these, and they are not counted
        assert max(int(line) for line in held.split()) <= most // 50_000 + in_hand + 2
        await hearing.until(lambda one: one["data"]["payload"]["number"] == 29, 40)
        assert [one["number"] for one in hearing.payloads()] == list(range(30))
        hearing.stop()
    grant(rabbitmq)
    assert str(COMMANDS_POLICY["definition"]["max-length-bytes"]) in rabbitmq.ctl(
        "list_policies", "-p", "realtime"
    )
