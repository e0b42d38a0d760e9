"""Grafana of the compose file: what it is told, and that its dashboard asks for what there is."""

import configparser
import itertools
import json
import re
from typing import Any

import promql_parser
import pytest
import yaml

from tests.compose.stack import COMPOSE, ROOT
from tests.deployment.test_alerts import RULES, exported

GRAFANA = ROOT / "deploy" / "grafana"
PROVISIONING = GRAFANA / "provisioning"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "realtime.json").read_text())
EVERYTHING: list[dict[str, Any]] = DASHBOARD["panels"]
PANELS = [one for one in EVERYTHING if one["type"] != "row"]
SERVICE: dict[str, Any] = COMPOSE["services"]["grafana"]
[SOURCE] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())[
    "datasources"
]
PROMETHEUS = {"up", "ALERTS"}
"""What Prometheus itself knows."""


def parse(expression: str) -> promql_parser.Expr:
    """Return the tree of an expression; Grafana's own variable becomes a time."""
    return promql_parser.parse(expression.replace("$__rate_interval", "1m"))


def asked(panel: dict[str, Any]) -> set[str]:
    """Return the names of the metrics that a panel shows."""
    names: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name or "")
        elif isinstance(node, promql_parser.MatrixSelector):
            names.add(node.vector_selector.name or "")

    for target in panel["targets"]:
        promql_parser.walk(parse(target["expr"]), visit)
    return names


async def series() -> set[str]:
    """Return the names of all series that gateway, router and presence service export."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    registry = await exported()
    return {
        one.name + suffix for one in registry.collect() for suffix in suffixes.get(one.type, [""])
    }


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_says_what_it_shows_and_asks_for_it_in_promql(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": SOURCE["type"], "uid": SOURCE["uid"]}
    assert asked(panel)
    if len(panel["targets"]) > 1:
        assert all(target["legendFormat"] for target in panel["targets"])


async def test_every_metric_of_the_dashboard_is_exported() -> None:
    names = set().union(*map(asked, PANELS))
    assert {
        name for name in names if not name.startswith("rabbitmq_")
    } <= await series() | PROMETHEUS


def test_panels_have_ids_and_places_of_their_own() -> None:
    assert len({one["id"] for one in EVERYTHING}) == len(EVERYTHING)
    places = [one["gridPos"] for one in EVERYTHING]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_the_dashboard_is_found_and_is_the_first_page() -> None:
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "realtime.yml").read_text())[
        "providers"
    ]
    assert provider["allowUiUpdates"] is False
    directory = provider["options"]["path"]
    assert configuration()["dashboards"]["default_home_dashboard_path"] == (
        f"{directory}/realtime.json"
    )
    mounted = dict(volume.split(":")[:2] for volume in SERVICE["volumes"])
    assert mounted == {
        "./deploy/grafana/grafana.ini": "/etc/grafana/grafana.ini",
        "./deploy/grafana/provisioning/dashboards": "/etc/grafana/provisioning/dashboards",
        "./deploy/grafana/provisioning/datasources": "/etc/grafana/provisioning/datasources",
        "./deploy/grafana/dashboards": directory,
    }
    assert all((ROOT / path).exists() for path in mounted)


def test_grafana_asks_the_prometheus_of_the_compose_file_as_often_as_that_asks_others() -> None:
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert SOURCE["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
    assert SOURCE["url"] == "http://prometheus:9090"
    assert "127.0.0.1:${PROMETHEUS_PORT:-9090}:9090" in COMPOSE["services"]["prometheus"]["ports"]


def test_only_the_admin_of_the_secret_gets_in() -> None:
    told = configuration()
    assert told["auth.anonymous"]["enabled"] == "false"
    assert told["users"]["allow_sign_up"] == "false"
    [secret] = SERVICE["secrets"]
    assert told["security"]["admin_password"] == f"$__file{{/run/secrets/{secret}}}"
    assert "environment" not in SERVICE


def test_grafana_tells_nobody_outside_and_fetches_nothing() -> None:
    told = configuration()
    assert set(told["analytics"].values()) == {"false"}
    assert told["analytics"].keys() == {
        "reporting_enabled",
        "check_for_updates",
        "check_for_plugin_updates",
        "feedback_links_enabled",
    }
    assert told["news"]["news_feed_enabled"] == "false"
    assert told["security"]["disable_gravatar"] == "true"
    assert told["snapshots"]["external_enabled"] == "false"
    assert told["plugins"] == {
        "plugin_admin_enabled": "false",
        "preinstall_disabled": "true",
        "preinstall_auto_update": "false",
        "public_key_retrieval_disabled": "true",
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_is_promql(rule: dict[str, Any]) -> None:
    parse(rule["expr"])


def test_the_image_has_a_fixed_version() -> None:
    assert re.fullmatch(r"grafana/grafana:\d+\.\d+\.\d+", SERVICE["image"])


def configuration() -> configparser.ConfigParser:
    """Return grafana.ini."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string((GRAFANA / "grafana.ini").read_text())
    return parser
