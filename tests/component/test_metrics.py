"""Every metric that there is: what makes it move, how it is named, what clients cannot do to it."""

import re
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from shared.process.admin import admin_server
from shared.process.metrics import measured
from shared.release import RELEASE
from tests.component import moving_keys  # noqa: F401 - its scenes are listed with the others
from tests.component.conftest import Start
from tests.component.moving import SCENES, SETTINGS, Scene
from tests.support.embedded import PATIENCE, Place, token, until

CONSTANT = {
    "process_cpu_seconds",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
    "realtime_build_info",
}
"""What is there from the start, whatever happens."""

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
UNITS = ("_seconds", "_bytes", "_items")
LABELS_OF_OURS = {
    "code",
    "direction",
    "kind",
    "le",
    "outcome",
    "reason",
    "service",
    "type",
    "version",
}


class Metrics:
    """A whole service in one process, and its /metrics."""

    def __init__(self, place: Place, admin: ClientSession) -> None:
        self.place = place
        self._admin = admin

    async def families(self) -> dict[str, Metric]:
        """Return all there is, by name; the moments of creation are not of interest."""
        async with self._admin.get("/metrics") as answer:
            text = await answer.text()
        found = {one.name: one for one in text_string_to_metric_families(text)}
        return {name: one for name, one in found.items() if not name.endswith("_created")}

    async def series(self) -> dict[str, float]:
        """Return every series with its value, but for those of the buckets of histograms."""
        return {
            _written(sample.name, sample.labels): sample.value
            for family in (await self.families()).values()
            for sample in family.samples
            if not sample.name.endswith(("_bucket", "_created"))
        }


def _written(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


def has_settled(place: Place) -> bool:
    """Whether nothing of the beginning is in line: all owners serve, and know the node."""
    node, server = place.server.node, place.server
    reigns = [seat.reign for one in (server.router, server.presence.replica) for seat in one._seats]
    known = all(reign and node.membership.node_id in reign.owner.lives for reign in reigns)
    return known and not node.uplink.waiting


@pytest.fixture
async def metrics(start: Start) -> AsyncIterator[Metrics]:
    place = await start(**SETTINGS)
    server = place.server
    await until(lambda: has_settled(place), "the node has told every partition of itself")
    async with (
        measured(server.registry, server.broker),
        admin_server(server.settings, server.registry, lambda: server.ready) as port,
        ClientSession(f"http://127.0.0.1:{port}") as admin,
    ):
        yield Metrics(place, admin)


# ---- each moves ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_metrics_move_when(
    scene: Scene, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await metrics.series()
    still = set(SCENES[scene])
    async with scene(metrics.place, monkeypatch):
        deadline = time.monotonic() + PATIENCE
        while still and time.monotonic() < deadline:
            now = await metrics.series()
            still = {one for one in still if now.get(one) == before.get(one)}
    assert not still


async def test_the_bytes_of_every_reply_are_counted(metrics: Metrics) -> None:
    alice = await metrics.place.connect("alice")
    sent = "realtime_gateway_sent_bytes_total"
    before = (await metrics.series())[sent]
    for _ in range(100):
        await alice.ask("Ping", {})
    counted = (await metrics.series())[sent] - before
    assert 100 * 50 < counted < 100 * 500


async def test_there_is_no_metric_of_which_nobody_knows_what_makes_it_move(
    metrics: Metrics,
) -> None:
    moved = {
        re.sub(r"(_total|_count)?({.*})?$", "", series)
        for listed in SCENES.values()
        for series in listed
    }
    assert set(await metrics.families()) == moved | CONSTANT
    assert not moved & CONSTANT


async def test_a_process_tells_what_runs_and_what_it_takes(metrics: Metrics) -> None:
    series = await metrics.series()
    assert series[f'realtime_build_info{{version="{RELEASE}"}}'] == 1
    families = await metrics.families()
    assert all(families[name].samples[0].value > 0 for name in CONSTANT)


async def test_operations_md_tells_of_each_metric_and_of_no_other(metrics: Metrics) -> None:
    told = set(re.findall(r"`(realtime_[a-z_]+?)(?:_total)?(?:{\w+})?`", OPERATIONS.read_text()))
    there = set(await metrics.families())
    assert told == {name for name in there if name not in CONSTANT} | {"realtime_build_info"}


# ---- names ---------------------------------------------------------------------------------------


async def test_names_and_help_follow_the_rules_of_prometheus(metrics: Metrics) -> None:
    """See https://prometheus.io/docs/practices/naming/."""
    for name, family in (await metrics.families()).items():
        assert name in CONSTANT or re.fullmatch(
            r"realtime_(gateway|router|presence|worker|broker|event_loop)_[a-z_]+", name
        ), name
        assert family.documentation, name
        exposed = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert f"{name}_total" in exposed, name
        else:
            assert not any(one.endswith("_total") for one in exposed), name
        if family.type == "histogram":
            assert name.endswith(UNITS), name
        for unit in ("seconds", "bytes"):
            assert unit not in name or name.endswith(f"_{unit}"), name
        labels = {label for sample in family.samples for label in sample.labels}
        assert labels <= LABELS_OF_OURS, name


# ---- what clients cannot do ----------------------------------------------------------------------


async def be_hostile(place: Place, rounds: int) -> None:
    """Name types, users, topics, extensions, codes and headers that nobody has heard of."""
    for _ in range(rounds):
        made_up = secrets.token_hex(8)
        talk = await place.connect(f"user-{made_up}")
        await talk.subscribe(f"topic.{made_up}", f"wild.{made_up}.#")
        await talk.broadcast(f"topic.{made_up}", made_up)
        await talk.direct(f"nobody-{made_up}", made_up)
        for kind in (f"Type{made_up}", f"X-Type{made_up}"):
            await talk.refused(kind, {})
        await talk.ask("Register", {"types": [f"X-Own{made_up}"]})
        await talk.raw(made_up)
        await talk.send(made_up.encode())
        await talk.told()
        await place.client.get(f"/ws?token={made_up}")
        await place.client.get("/ws", headers={"Origin": f"https://{made_up}.example"})
        await place.client.get(f"/ws?token={token(made_up, secret=made_up * 4)}")
        await talk.close()
        await place.server.forgotten(f"user-{made_up}")


async def test_clients_can_name_what_they_like_and_make_no_series_of_it(metrics: Metrics) -> None:
    before = set(await metrics.series())
    await be_hostile(metrics.place, 5)
    after = await metrics.series()
    assert set(after) == before
    assert after['realtime_gateway_commands_total{type="unknown"}'] > 5
