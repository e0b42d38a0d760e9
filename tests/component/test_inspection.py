"""Our own commands of aiomonitor, at its terminal, about running services."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count

import pytest
from prometheus_client import CollectorRegistry

import gateway.inspection
import presence_service.inspection
import router.inspection
from shared.process.monitor import Inspection, Inspections, monitor
from shared.settings import load
from shared.trail import Trail
from standalone import embedded
from tests.component.conftest import Start
from tests.support.embedded import Place, Talk, token
from tests.support.telnet import Terminal, terminal

HOSTILE = "mallory\x1b[2J\nalice"


@pytest.fixture
async def place(start: Start) -> Place:
    """The services, with aiomonitor asked for."""
    return await start(aiomonitor=True)


def inspections(place: Place) -> Inspections:
    server = place.server
    return {
        **gateway.inspection.inspections(server.node),
        **{
            f"router-{name}": one
            for name, one in router.inspection.inspections(server.router).items()
        },
        **presence_service.inspection.inspections(server.presence.replica),
    }


@pytest.fixture
async def prompt(place: Place) -> AsyncIterator[Terminal]:
    """A person at the terminal of the process."""
    loop = asyncio.get_running_loop()
    with monitor(place.server.settings, loop, inspections(place)) as port:
        assert port is not None
        async with terminal(port) as opened:
            yield opened


def cells(lines: list[str]) -> list[list[str]]:
    """Return the words of all lines but the heads."""
    return [line.split() for line in lines[1:]]


async def subscriber(place: Place) -> tuple[Talk, str]:
    credential = token("alice")
    alice = await place.open(credential)
    alice.welcome = (await alice.hear())["data"]["details"]
    await alice.subscribe("a.*", "b")
    return alice, credential


async def test_connections_of_a_gateway_with_user_age_patterns_and_held_back_bytes(
    place: Place, prompt: Terminal
) -> None:
    alice, credential = await subscriber(place)
    [line] = cells(await prompt.ask("connections"))
    assert [*line[:2], *line[3:]] == [alice.id, "alice", "s", "2", "0"]
    assert int(line[2]) < 60
    assert credential.encode() not in prompt.raw


async def test_subscriptions_of_a_connection(place: Place, prompt: Terminal) -> None:
    alice, _ = await subscriber(place)
    lines = cells(await prompt.ask(f"subscriptions {alice.id}"))
    assert [(line[0], line[-1]) for line in lines] == [("a.*", "yes"), ("b", "yes")]
    assert "No such connection here: x" in (await prompt.ask("subscriptions x"))[0]


async def test_interest_of_a_node_with_the_number_of_connections(
    place: Place, prompt: Terminal
) -> None:
    await subscriber(place)
    bob = await place.connect("bob")
    await bob.subscribe("b")
    assert cells(await prompt.ask("interest")) == [["a.*", "1"], ["b", "2"]]


async def test_partitions_of_a_replica_with_term_age_and_commands(
    place: Place, prompt: Terminal
) -> None:
    await subscriber(place)
    for command in ("partitions", "router-partitions"):
        lines = cells(await prompt.ask(command))
        assert [line[:3] for line in lines] == [["0", "serves", "1"], ["1", "serves", "1"]]
        assert all(int(line[-1]) > 0 for line in lines)


async def test_interest_that_a_router_knows_of_all_partitions_or_one(
    place: Place, prompt: Terminal
) -> None:
    await subscriber(place)
    node = place.server.settings.node_id
    every = [[number, node, pattern] for number in "01" for pattern in ("a.*", "b")]
    found = cells(await prompt.ask("router-interest"))
    assert found
    assert all(line in every for line in found)
    own = cells(await prompt.ask("router-interest 1"))
    assert own == [line for line in found if line[0] == "1"]
    assert "Not a number: x" in (await prompt.ask("router-interest x"))[0]


async def test_locations_of_a_user(place: Place, prompt: Terminal) -> None:
    alice, _ = await subscriber(place)
    [line] = cells(await prompt.ask("locations alice"))
    assert line[1:3] == [alice.id, place.server.settings.node_id]
    assert line[-1] == "online"
    assert cells(await prompt.ask("locations nobody")) == []


async def test_no_answer_is_longer_than_asked_for(place: Place, prompt: Terminal) -> None:
    await place.people("alice", "bob", "carol")
    lines = await prompt.ask("connections --limit 2")
    assert len(lines) == 4
    assert lines[-1] == "There is more; see --limit, which was 2."
    assert len(await prompt.ask("connections --limit 3")) == 4


async def test_what_a_client_has_named_cannot_steer_the_terminal(place: Place) -> None:
    hostile = Inspection("Ask.", ("NAME",), lambda: [[HOSTILE]])
    loop = asyncio.get_running_loop()
    with monitor(place.server.settings, loop, {"hostile": hostile}) as port:
        assert port is not None
        async with terminal(port) as opened:
            assert await opened.ask("hostile") == ["NAME", r"mallory\x1b[2J\nalice"]
            assert b"mallory\x1b" not in opened.raw


async def test_no_more_is_read_than_is_printed(place: Place) -> None:
    endless = Inspection("Count.", ("NUMBER",), lambda: ([number] for number in count()))
    loop = asyncio.get_running_loop()
    with monitor(place.server.settings, loop, {"endless": endless}) as port:
        assert port is not None
        async with terminal(port) as opened:
            assert (await opened.ask("endless --limit 2"))[:3] == ["NUMBER", "0", "1"]


async def test_each_command_tells_what_it_does(place: Place, prompt: Terminal) -> None:
    for name, one in inspections(place).items():
        assert any(one.help[:30] in line for line in await prompt.ask(f"{name} --help"))


async def test_two_processes_of_a_machine_have_ports_of_their_own(place: Place) -> None:
    settings, loop = place.server.settings, asyncio.get_running_loop()
    with monitor(settings, loop, {}) as one, monitor(settings, loop, {}) as other:
        assert one != other
        for port in (one, other):
            assert port is not None
            async with terminal(port) as opened:
                assert await opened.ask("help")


async def test_nothing_is_opened_unless_asked_for(start: Start) -> None:
    settings = (await start()).server.settings
    with monitor(settings, asyncio.get_running_loop(), {}) as port:
        assert port is None


async def test_services_that_share_a_process_keep_their_commands_apart() -> None:
    settings = load({}, mode="development", port=0, partitions=1)
    trail = Trail("realtime", settings.node_id, time.time_ns)
    async with embedded.serve(settings, CollectorRegistry(), trail) as service:
        assert sorted(service.inspections) == [
            "gateway-connections",
            "gateway-interest",
            "gateway-subscriptions",
            "presence-locations",
            "presence-partitions",
            "router-interest",
            "router-partitions",
        ]
