"""The path of a message through the processes of a cluster: ``realtime trace``, and spans."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from standalone.command_line import commands
from standalone.local_cluster import LocalCluster
from tests.support.broker import Troubled
from tests.support.cluster import Hearing, clients, free_ports, make_cluster, url_of
from tests.support.collector import Collector, Kept, collecting

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def collector_port() -> int:
    [port] = free_ports(1)
    return port


@pytest.fixture(scope="module")
def cluster(
    rabbitmq: Troubled, tmp_path_factory: pytest.TempPathFactory, collector_port: int
) -> Iterator[LocalCluster]:
    """Two of each service, which make spans."""
    exports = {
        "REALTIME_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with make_cluster(rabbitmq.url, tmp_path_factory.mktemp("logs"), **exports) as running:
        yield running


async def said(cluster: LocalCluster, user: str) -> tuple[str, str]:
    """Have a broadcast and a direct message go from one gateway to a user at the other.

    Return their ids.
    """
    async with clients((url_of(cluster, 0), "alice"), (url_of(cluster, 1), user)) as (alice, bob):
        hearing = Hearing(bob)
        await bob.subscribe("chat.a")
        broadcast = await alice.broadcast("chat.a", 1)
        direct = await alice.direct_message(user, 2)
        assert direct["status"] == "delivered"
        await hearing.until(lambda one: one["type"] == "DirectMessage")
        hearing.stop()
    return broadcast["server_message_id"], direct["server_message_id"]


async def trace(rabbitmq: Troubled, *arguments: str) -> tuple[int, str]:
    """Run ``realtime trace``; return its exit status and what it prints."""
    asked = ["trace", *arguments, "--amqp-url", rabbitmq.url]
    result = await asyncio.to_thread(CliRunner().invoke, commands, asked)
    return result.exit_code, result.output


async def test_the_path_of_a_message_is_told_by_all_who_had_it(
    cluster: LocalCluster, rabbitmq: Troubled
) -> None:
    broadcast, direct = await said(cluster, "bob")
    near, far = (one.node_id for one in cluster.of("gateway"))
    for message_id, decided in ((broadcast, "route"), (direct, "locate")):
        status, printed = await trace(rabbitmq, message_id)
        assert status == 0, printed
        lines = printed.splitlines()
        assert lines[0].split() == ["AFTER", "TOOK", "STEP", "SERVICE", "NODE", "DETAILS"]
        steps = [line.split() for line in lines[1:]]
        nodes = {step[4]: step[6] for step in steps}
        assert list(nodes) == ["command", "send", decided, "deliver"]
        assert [nodes[one] for one in ("command", "send", "deliver")] == [near, near, far]


async def test_scripts_get_json(cluster: LocalCluster, rabbitmq: Troubled) -> None:
    broadcast, _ = await said(cluster, "carol")
    status, printed = await trace(rabbitmq, broadcast, "--json")

    assert status == 0, printed
    steps = json.loads(printed)
    [routed] = [one for one in steps if one["name"] == "route"]
    [delivered] = [one for one in steps if one["name"] == "deliver" and one["details"]["written"]]
    assert {one["name"] for one in steps} == {"command", "send", "route", "deliver"}
    assert (routed["name"], routed["service"]) == ("route", "router")
    assert routed["details"]["nodes"] == 1
    assert delivered["began_ns"] > routed["began_ns"]
    assert delivered["node"] == cluster.of("gateway")[1].node_id


async def test_of_a_message_that_nobody_knows_it_is_said_so(
    cluster: LocalCluster, rabbitmq: Troubled
) -> None:
    status, printed = await trace(rabbitmq, "broadcast_of_another_time")

    assert status == 1
    assert f"None of the {len(cluster.services)} processes that answered remembers" in printed


async def test_all_processes_send_the_spans_of_one_trace(
    cluster: LocalCluster, collector_port: int
) -> None:
    async with collecting(collector_port) as collector:
        for message_id in await said(cluster, "dave"):
            spans = await _spans_of(collector, message_id, 4)
            [command] = [one for one in spans if one.name == "command"]
            others = [one for one in spans if one is not command]
            assert len(others) == 3
            assert {one.trace for one in others} == {command.trace}
            assert {one.parent for one in others} == {command.span}
            assert len({one.node for one in spans}) == 3


async def _spans_of(collector: Collector, message_id: str, count: int) -> list[Kept]:
    def of_message() -> list[Kept]:
        return [one for one in collector.spans if one.message_id == message_id]

    await collector.until(lambda: len(of_message()) >= count)
    return of_message()
