"""Hostile clients, the whole list, against a live node; honest ones must not feel it."""

import asyncio
import json
import sys
import time
from asyncio import to_thread
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from standalone.local_cluster import LocalCluster, Service
from tests.abuse.honest import honest_clients
from tests.support.broker import Troubled
from tests.support.cluster import make_cluster, metric

pytestmark = pytest.mark.rabbitmq

CALM_SECONDS = 5.0
"""Before and after; there is more of it between the attacks."""

RATIO = 1.5
"""How much longer things may take under attack than in the same run without."""

FILES = "process_open_fds"
MEMORY = "process_resident_memory_bytes"
CONNECTIONS = "realtime_gateway_connections"

PRODUCTION = {
    "REALTIME_MAX_MESSAGES_PER_SECOND": "50",
    "REALTIME_MAX_BYTES_PER_SECOND": "1048576",
    "REALTIME_MAX_USER_MESSAGES_PER_SECOND": "200",
    "REALTIME_MAX_HANDSHAKES_PER_SECOND": "20",
    "REALTIME_MAX_ACCEPTS_PER_SECOND": "500",
    "REALTIME_MAX_ADDRESS_CONNECTIONS": "200",
    "REALTIME_LOG_LEVEL": "info",
}
"""The limits that production has by default."""


@pytest.fixture(scope="module")
def cluster(rabbitmq: Troubled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster whose only gateway has the limits of production."""
    logs = tmp_path_factory.mktemp("logs")
    with make_cluster(rabbitmq.url, logs, gateways=1, **PRODUCTION) as running:
        yield running


Span = tuple[float, float]


async def attack(port: int) -> tuple[dict[str, Span], dict[str, Any]]:
    """Have the list done; return when each attack was, and what came of it."""
    attacker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.abuse.attacks", str(port), stdout=asyncio.subprocess.PIPE
    )
    began: dict[str, float] = {}
    spans: dict[str, Span] = {}
    outcomes: dict[str, Any] = {}
    try:
        assert attacker.stdout is not None
        async for line in attacker.stdout:
            told = json.loads(line)
            if "begins" in told:
                began[told["begins"]] = time.monotonic()
            else:
                name = told["ends"]
                spans[name], outcomes[name] = (began[name], time.monotonic()), told["outcome"]
        assert await attacker.wait() == 0
    finally:
        if attacker.returncode is None:
            attacker.kill()
            await attacker.wait()
    return spans, outcomes


def between(begin: float, spans: list[Span], end: float) -> list[Span]:
    """Return when there was no attack."""
    ends = [begin, *(over for _, over in spans)]
    return list(zip(ends, [*(began for began, _ in spans), end], strict=True))


def holds(service: Service) -> dict[str, float]:
    """Return what a process holds."""
    text = service.ask("/metrics")
    return {name: metric(text, f"{name} ") for name in (FILES, MEMORY, CONNECTIONS)}


def wait_until(service: Service, fits: Callable[[dict[str, float]], bool]) -> None:
    """Wait until a process holds what it should."""
    deadline = time.monotonic() + 20
    while not fits(now := holds(service)):
        assert time.monotonic() < deadline, now
        time.sleep(0.1)  # in a thread: the loop measures honest clients


@pytest.fixture(scope="module")
def attacked(cluster: LocalCluster, rabbitmq: Troubled) -> dict[str, Any]:
    """What was seen before, during and after the attacks."""
    return asyncio.run(_attacked(cluster, rabbitmq))


async def _attacked(cluster: LocalCluster, rabbitmq: Troubled) -> dict[str, Any]:
    [gateway] = cluster.of("gateway")
    port = next(iter(cluster.gateway_ports))
    async with honest_clients(f"ws://127.0.0.1:{port}/ws") as honest:
        await asyncio.sleep(2)
        before, queues = await to_thread(holds, gateway), await to_thread(queues_of, rabbitmq)
        begin = time.monotonic()
        await asyncio.sleep(CALM_SECONDS)
        pids = [one.pid for one in cluster.services]
        spans, outcomes = await attack(port)
        await to_thread(wait_until, gateway, lambda now: now[CONNECTIONS] == before[CONNECTIONS])
        await asyncio.sleep(CALM_SECONDS)
        calm = between(begin, list(spans.values()), time.monotonic())
        await to_thread(wait_until, gateway, lambda now: now[FILES] <= before[FILES])
        after, queues_after = (
            await to_thread(holds, gateway),
            await to_thread(queues_of, rabbitmq),
        )
        return {
            "honest": honest,
            "troubles": list(honest.troubles),
            "calm": calm,
            "spans": spans,
            "outcomes": outcomes,
            "before": before,
            "after": after,
            "queues": (queues, queues_after),
            "running": [one.running for one in cluster.services],
            "pids": (pids, [one.pid for one in cluster.services]),
        }


def queues_of(rabbitmq: Troubled) -> dict[str, int]:
    """Return how many messages are in each queue."""
    listed = rabbitmq.ctl("list_queues", "name", "messages", "--formatter", "json")
    return {one["name"]: one["messages"] for one in json.loads(listed)}


def test_honest_clients_do_not_feel_it(attacked: dict[str, Any]) -> None:
    honest, spans = attacked["honest"], attacked["spans"]
    calm = honest.p99(attacked["calm"])
    figures = {name: round(honest.p99([span]) / calm, 2) for name, span in spans.items()}
    ratio = honest.p99(list(spans.values())) / calm
    told = f"calm p99 {calm * 1000:.1f} ms; attacked {ratio:.2f} times that; {figures}"
    sys.stdout.write(f"{told}\n")

    assert attacked["troubles"] == []
    assert ratio <= RATIO, figures


def test_nothing_has_crashed_and_no_fault_was_logged(
    attacked: dict[str, Any], cluster: LocalCluster
) -> None:
    assert all(attacked["running"])
    assert attacked["pids"][0] == attacked["pids"][1]
    for path in cluster.logs.glob("*.log"):
        said = path.read_text(errors="replace")
        assert "Traceback" not in said, path
        assert "incident" not in said, path


def test_no_queue_and_no_memory_stays_behind(attacked: dict[str, Any]) -> None:
    before, after = attacked["queues"]
    assert after.keys() == before.keys()
    assert attacked["after"][MEMORY] < attacked["before"][MEMORY] + 30_000_000


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("bad_tokens", {"401"}),
        ("a_storm_of_handshakes", {"101", "429"}),
        ("sockets_that_say_nothing", {"0", "408", "429"}),
        ("requests_that_are_none", {"0", "400", "405", "431"}),
        ("a_crowd_of_one", {"101", "429"}),
        ("messages_that_are_too_large", {"1009 after 0", "1009 after 1"}),
        ("json_that_costs_much", {"4400 after 10", "4400 after 11"}),
        ("a_mass_of_subscriptions", {"0"}),
        ("readers_that_do_not_read", {"1006"}),
    ],
)
def test_each_attack_ends_as_it_should(
    attacked: dict[str, Any], name: str, allowed: set[str]
) -> None:
    assert attacked["outcomes"][name].keys() <= allowed, attacked["outcomes"][name]


def test_broken_frames_close_with_their_code(attacked: dict[str, Any]) -> None:
    ends = attacked["outcomes"]["frames_that_break_the_protocol"]

    assert ends == {"1002 after 0": 12, "1007 after 0": 3}


@pytest.mark.parametrize("name", ["a_flood_of_messages", "a_flood_of_pings"])
def test_a_flood_is_cut_off(attacked: dict[str, Any], name: str) -> None:
    assert attacked["outcomes"][name]["code"] == 4429


def test_most_of_what_is_too_much_is_refused(attacked: dict[str, Any]) -> None:
    outcomes = attacked["outcomes"]

    assert outcomes["a_storm_of_handshakes"]["429"] > outcomes["a_storm_of_handshakes"]["101"]
    # Of a hundred too many half have said something, and may see a reset instead.
    assert outcomes["sockets_that_say_nothing"]["429"] >= 50
    assert outcomes["a_crowd_of_one"]["101"] >= 20
    assert outcomes["a_flood_of_messages"]["errors"].keys() == {"429"}
