"""Alerts ask for metrics that there are, and somebody knows what to do about each."""

import re
import time
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from gateway.app import make_node
from presence_service.app import make_presence
from router.app import make_router
from shared.broker import topology
from shared.broker.memory import MemoryBroker
from shared.process.metrics import measured
from shared.settings import Settings, load
from shared.trail import Trail
from tests.compose.stack import ROOT

ALERTS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
RULES: list[dict[str, Any]] = ALERTS["groups"][0]["rules"]


async def exported() -> CollectorRegistry:
    """Return what gateway, router and presence service export before anything has happened."""
    registry, broker = CollectorRegistry(), MemoryBroker()
    settings = load({}, mode="development", jwt_secret="x" * 32)
    trail = Trail("realtime", settings.node_id, time.time_ns)
    for make in (make_node, make_router, make_presence):
        make(settings, broker, registry, trail)  # type: ignore[operator] # of three kinds
    async with measured(registry, broker):
        return registry


async def metrics() -> set[str]:
    """Return the names of all that is exported."""
    suffixes = {"counter": "_total", "histogram": "_bucket"}
    registry = await exported()
    return {one.name + suffixes.get(one.type, "") for one in registry.collect()}


async def test_every_metric_of_an_alert_is_exported() -> None:
    asked = {name for rule in RULES for name in re.findall(r"realtime_\w+", rule["expr"])}
    assert asked
    assert asked <= await metrics()


async def test_the_metric_that_gateways_are_scaled_by_is_exported_and_known_to_the_adapter() -> (
    None
):
    component = ROOT / "k8s" / "components" / "connections-autoscaling"
    [patch] = yaml.safe_load((component / "by-connections.yaml").read_text())
    [rule] = yaml.safe_load((component / "adapter-rules.yaml").read_text())["rules"]["custom"]
    name = patch["value"]["pods"]["metric"]["name"]
    assert name in await metrics()
    assert rule["name"] == {"as": name}
    assert rule["seriesQuery"].startswith(f"{name}{{")


async def test_what_an_alert_asks_for_by_code_is_counted_from_zero() -> None:
    """``increase`` sees nothing of a series whose first value is the first event."""
    asked = {one for rule in RULES for one in re.findall(r'(\w+){code="(\d+)"}', rule["expr"])}
    registry = await exported()
    counted = {one: registry.get_sample_value(one[0], {"code": one[1]}) for one in asked}
    assert counted
    assert counted == dict.fromkeys(asked, 0)


def test_a_series_with_a_code_is_compared_with_one_that_has_none() -> None:
    """Prometheus pairs equal labels only, so such an alert would never be raised otherwise."""
    compared = [
        rule["expr"]
        for rule in RULES
        if rule["expr"].count("realtime_") == 2
        and "{code=" in rule["expr"]
        and "sum" not in rule["expr"]
    ]
    assert compared
    assert all("ignoring (code)" in expr for expr in compared)


def test_prometheus_keeps_how_full_the_queues_are_that_alerts_ask_for() -> None:
    deployed = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    [job] = [one for one in deployed["scrape_configs"] if one["job_name"] == "rabbitmq-queues"]
    [docker] = job["metric_relabel_configs"]
    monitors = ROOT / "k8s" / "components" / "monitoring" / "service-monitor.yaml"
    [_, rabbitmq] = yaml.safe_load_all(monitors.read_text())
    [kubernetes] = rabbitmq["spec"]["endpoints"][1]["metricRelabelings"]
    names = [topology.commands(topology.PRESENCE, 15).name, topology.UNDELIVERED.name, "poison"]
    assert docker["regex"] == kubernetes["regex"]
    assert all(re.fullmatch(docker["regex"], name) for name in names)
    kept = [
        (rule["alert"], name)
        for rule in RULES
        for queues in re.findall(r'queue=~?"(.*)"', rule["expr"])
        for name in names
        if re.fullmatch(queues.replace("\\\\", "\\"), name)
    ]
    assert kept == [
        ("RealtimeQueueUnread", names[0]),
        ("RealtimeQueueUnread", names[1]),
        ("RealtimePoisonFills", names[2]),
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_it_means_and_where_help_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    told = rule["annotations"]
    assert told["summary"]
    assert told["description"]
    assert told["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert re.findall(r"^## (\w+)$", runbook, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_kubernetes_has_the_same_rules() -> None:
    manifest = yaml.safe_load((ROOT / "k8s/components/monitoring/alerts.yaml").read_text())
    assert manifest["spec"] == ALERTS


def test_alerts_expect_as_many_partitions_as_there_are_by_default() -> None:
    expected = {int(one) for rule in RULES for one in re.findall(r"\)\) < (\d+)", rule["expr"])}
    assert expected == {Settings().partitions}
