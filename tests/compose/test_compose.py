"""The compose file, in real containers: what it starts, serves, survives and scales to."""

import asyncio
import base64
import json
import random
import secrets
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from realtime_client import Client, connect
from shared.broker import topology
from shared.settings import Settings
from standalone.tokens import development_token
from tests.chaos.cast import Cast, Load
from tests.chaos.checker import check
from tests.chaos.clients import Habits
from tests.chaos.history import FaultBegan, FaultEnded
from tests.chaos.recorder import Recorder
from tests.compose.stack import CLUSTER, DM, PUB, SUB, Stack, fetch
from tests.deployment.test_grafana import DASHBOARD, PANELS, asked
from tests.support.cluster import Hearing, eventually

pytestmark = pytest.mark.containers

LOAD = Load(publishers=4, listeners=4, plain=0, visitors=0, watchers=0, rate=8)
SETTLE_SECONDS = 12.0
PATIENCE = 90.0


@asynccontextmanager
async def apart(stack: Stack, *users: str) -> AsyncIterator[list[Client]]:
    """Connect users through the balancer, each to a gateway of their own."""
    async with AsyncExitStack() as open_clients:
        found: list[Client] = []
        nodes: set[str] = set()
        for user in users:
            for _ in range(20):
                client = await connect(stack.url, development_token(user))
                node = client.welcome["node_id"]
                if node not in nodes:
                    break
                await client.close()
            found.append(await open_clients.enter_async_context(client))
            nodes.add(node)
        assert len(nodes) == len(users), "the balancer knows one gateway only"
        yield found


@asynccontextmanager
async def load(stack: Stack) -> AsyncIterator[Recorder]:
    """Have people talk through the balancer meanwhile; judge what came of it in the end."""
    recorder = Recorder()
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        recorder.watching_the_clock(),
    ):
        cast = Cast(
            recorder,
            session,
            [stack.url],
            random.Random(1),  # noqa: S311 - to be repeated
            Habits(),
            LOAD,
            prefix=f"{secrets.token_hex(4)}-",
        )
        try:
            await cast.begin(PATIENCE)
            yield recorder
            await cast.quiet_down(PATIENCE)
            await cast.all_here(PATIENCE)
            await asyncio.sleep(SETTLE_SECONDS)  # so that what never comes has had its time
        finally:
            await cast.disperse()
    verdict = check(recorder.history({}))
    print(verdict, verdict.figures)  # noqa: T201 - for whom it may concern
    assert verdict.figures.acked
    assert not verdict.violations, verdict


def cluster(stack: Stack) -> dict[str, Any]:
    """Ask as a back end who is in the cluster."""
    state: dict[str, Any] = fetch(f"{stack.api}/cluster", stack.secret("api_keys"))
    return state


def query(stack: Stack, expression: str) -> list[Any]:
    """Ask Prometheus, which must understand."""
    asked_for = urllib.parse.urlencode({"query": expression})
    answer = fetch(f"{stack.prometheus}/api/v1/query?{asked_for}")
    assert answer["status"] == "success", answer
    result: list[Any] = answer["data"]["result"]
    return result


def closed(stack: Stack, since: datetime, *users: str) -> list[tuple[str, str]]:
    """Return user and node of each connection of theirs that has ended since, as the logs tell."""
    logs = f"docker compose logs --no-log-prefix --since {since.isoformat()} gateway"
    lines = [json.loads(line) for line in stack.type(logs).splitlines()]
    ended = [(line["user"], line["node"]) for line in lines if line["action"] == "close"]
    return [one for one in ended if one[0] in users]


async def test_people_talk_across_two_gateways_through_the_balancer(stack: Stack) -> None:
    async with apart(stack, "carol", "dave") as (carol, dave):
        hearing = Hearing(dave)
        await dave.subscribe("chat.*", "presence.carol")
        await hearing.until(lambda one: one["data"].get("user_id") == "carol")
        assert (await carol.broadcast("chat.a", 1))["recipients"] == 1
        assert (await carol.direct_message("dave", 2))["status"] == "delivered"
        assert (await carol.direct_message("erin", 3))["status"] == "queued"
        await hearing.until(lambda one: one["type"] == "DirectMessage")
        hearing.stop()


async def test_the_readmes_lines_listen_at_one_gateway_and_speak_at_another(stack: Stack) -> None:
    began, key = datetime.now(UTC), stack.secret("api_keys")
    topic = f"{stack.api}/topics/chat.general/subscribers"
    with stack.terminal(SUB) as shown:
        await eventually(lambda: fetch(topic, key)["users"], 20, "bob is subscribed")
        said = json.loads(stack.type(PUB))
        assert (said["status"], said["recipients"]) == ("delivered", 1)
        assert json.loads(stack.type(DM))["status"] == "delivered"
        heard = [json.loads(next(shown)) for _ in range(2)]
    assert [(one["type"], one["data"]["payload"]) for one in heard] == [
        ("Broadcast", {"hello": "world"}),
        ("DirectMessage", {"just": "for you"}),
    ]
    await eventually(lambda: len(closed(stack, began, "alice", "bob")) == 3, 20, "all are gone")
    ended = closed(stack, began, "alice", "bob")
    listened, spoke = ({node for who, node in ended if who == one} for one in ("bob", "alice"))
    assert listened.isdisjoint(spoke)


def test_the_readmes_line_shows_every_process(stack: Stack) -> None:
    shown = [line.split()[1] for line in stack.type(CLUSTER).splitlines()[1:]]
    assert sorted(shown) == sorted(2 * ["gateway", "router", "presence"])


def test_back_ends_reach_the_api_with_a_key(stack: Stack) -> None:
    state = cluster(stack)
    assert len(state["gateways"]) == 2
    assert not any(state["unserved"].values()), state


def test_all_are_healthy_once_they_are_up(stack: Stack) -> None:
    state = {name: one["State"] for name, one in stack.containers().items()}
    assert {name: one["Health"]["Status"] for name, one in state.items()} == dict.fromkeys(
        state, "healthy"
    )


def test_containers_run_as_nobody_without_rights_and_write_nothing(stack: Stack) -> None:
    for name, one in stack.containers().items():
        status = stack.type(f"docker exec {name} cat /proc/1/status")
        told = dict(line.split(":\t", 1) for line in status.splitlines())
        assert "0" not in told["Uid"].split(), name
        assert {told[key] for key in told if key.startswith("Cap")} == {"0" * 16}, name
        assert told["NoNewPrivs"] == "1", name
        host = one["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["PidsLimit"], name
        assert host["Memory"], name
        assert "amqp://" not in " ".join(one["Config"]["Env"]), name


async def test_prometheus_finds_every_process(stack: Stack) -> None:
    def targets() -> dict[str, int]:
        active = fetch(f"{stack.prometheus}/api/v1/targets")["data"]["activeTargets"]
        up = [one["labels"]["job"] for one in active if one["health"] == "up"]
        return {job: up.count(job) for job in up}

    expected = {"gateway": 2, "router": 2, "presence": 2, "rabbitmq": 1, "rabbitmq-queues": 1}
    await eventually(lambda: targets() == expected, 60, "all targets are up")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_of_the_dashboard_shows_something(stack: Stack, panel: dict[str, Any]) -> None:
    for name in asked(panel) - {"ALERTS"}:  # which are there only while one is raised
        assert query(stack, f"count({name})"), name
    for target in panel["targets"]:
        query(stack, target["expr"].replace("$__rate_interval", "1m"))


def test_rabbitmq_blocks_publishers_before_its_container_is_killed(stack: Stack) -> None:
    [name] = stack.of("rabbitmq")
    [found] = query(stack, "rabbitmq_resident_memory_limit_bytes")
    assert float(found["value"][1]) < 0.7 * stack.containers()[name]["HostConfig"]["Memory"]


def test_prometheus_knows_how_full_the_queues_are_that_alerts_ask_for(stack: Stack) -> None:
    found = {one["metric"]["queue"] for one in query(stack, "rabbitmq_detailed_queue_messages")}
    commands = {
        topology.commands(service, partition).name
        for service in (topology.ROUTER, topology.PRESENCE)
        for partition in range(Settings().partitions)
    }
    assert found == {topology.UNDELIVERED.name, topology.POISON.name, *commands}


def test_grafana_shows_the_dashboard_to_its_admin(stack: Stack) -> None:
    if not stack.has_image("grafana"):
        pytest.skip("Grafana's image cannot be had")
    admin = base64.b64encode(f"admin:{stack.secret('grafana_admin_password')}".encode()).decode()
    found = fetch(f"{stack.grafana}/api/dashboards/uid/{DASHBOARD['uid']}", admin, "Basic")
    assert found["dashboard"]["title"] == DASHBOARD["title"]
    health = fetch(f"{stack.grafana}/api/datasources/uid/prometheus/health", admin, "Basic")
    assert health["status"] == "OK"


def test_prometheus_and_the_balancer_find_nothing_wrong_with_their_configurations(
    stack: Stack,
) -> None:
    stack.type(
        "docker compose exec prometheus promtool check config /etc/prometheus/prometheus.yml"
    )
    stack.type("docker compose exec balancer haproxy -c -dW -f /usr/local/etc/haproxy/haproxy.cfg")


async def test_gateways_scale_from_two_to_four_and_back_and_nothing_acknowledged_is_lost(
    stack: Stack,
) -> None:
    before = stack.started()
    async with load(stack):
        await asyncio.to_thread(stack.scale, 4)
        async with apart(stack, "alice", "bob"):  # on the new ones, which have the fewest
            assert len((await asyncio.to_thread(cluster, stack))["gateways"]) == 4
        await asyncio.to_thread(stack.scale, 2)
        assert len(stack.of("gateway")) == 2
    assert stack.started() == before


async def test_a_killed_gateway_costs_nothing_acknowledged(stack: Stack) -> None:
    async with load(stack) as recorder:
        victim = stack.of("gateway")[0]
        host = stack.containers()[victim]["Config"]["Hostname"]
        recorder.note(FaultBegan(recorder.now(), "kill gateway", f"{host}-1"))
        await asyncio.to_thread(stack.type, f"docker kill {victim}")
        await asyncio.to_thread(stack.type, f"docker start {victim}")
        await asyncio.to_thread(stack.scale, 2)
        recorder.note(FaultEnded(recorder.now(), "kill gateway", f"{host}-1", ()))
        await asyncio.sleep(SETTLE_SECONDS)


async def test_a_restart_of_rabbitmq_costs_nothing_acknowledged(stack: Stack) -> None:
    async with load(stack) as recorder:
        recorder.note(FaultBegan(recorder.now(), "restart rabbitmq", "rabbitmq"))
        await asyncio.to_thread(stack.type, "docker compose restart rabbitmq")
        await asyncio.to_thread(stack.scale, 2)
        recorder.note(FaultEnded(recorder.now(), "restart rabbitmq", "rabbitmq", ()))
        await asyncio.sleep(SETTLE_SECONDS)
