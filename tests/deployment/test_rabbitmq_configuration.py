"""RabbitMQ is told the same by the compose file, for one machine, and in production."""

from typing import Any

import yaml

from tests.compose.stack import COMPOSE, ROOT
from tests.deployment.manifests import of_kind

OVERLAYS = ROOT / "k8s" / "overlays"
CONFIGURATION = (ROOT / "deploy" / "rabbitmq" / "rabbitmq.conf").read_text()
SHARED = (
    "heartbeat",
    "vm_memory_high_watermark.relative",
    "load_definitions",
    "auth_mechanisms.1",
    "max_message_size",
)


def settings(configuration: str) -> dict[str, str]:
    """Return what a rabbitmq.conf sets."""
    lines = (line.partition(" = ") for line in configuration.splitlines())
    return {key: value for key, equals, value in lines if equals and not key.startswith("#")}


def rabbitmq(overlay: str, kind: str) -> dict[str, Any]:
    """Return what an overlay runs RabbitMQ by."""
    manifests = yaml.safe_load_all((OVERLAYS / overlay / "rabbitmq.yaml").read_text())
    specification: dict[str, Any] = of_kind(list(manifests), kind)["rabbitmq"]["spec"]
    return specification


def test_one_node_is_told_the_same_by_docker_and_by_kubernetes() -> None:
    assert (OVERLAYS / "local" / "rabbitmq.conf").read_text() == CONFIGURATION


def test_production_keeps_to_what_one_node_is_told_unless_it_must_differ() -> None:
    told = settings(rabbitmq("production", "RabbitmqCluster")["rabbitmq"]["additionalConfig"])
    assert {key: told[key] for key in SHARED} == {
        key: settings(CONFIGURATION)[key] for key in SHARED
    }


def test_nobody_connects_to_rabbitmq_without_a_password() -> None:
    """ANONYMOUS is among RabbitMQ 4's defaults, which go as soon as one mechanism is named."""
    ways = {key: value for key, value in settings(CONFIGURATION).items() if "mechanisms" in key}
    assert ways == {"auth_mechanisms.1": "PLAIN"}


def test_rabbitmq_finds_its_definitions_where_they_are_mounted() -> None:
    path = settings(CONFIGURATION)["load_definitions"]
    assert COMPOSE["services"]["rabbitmq"]["secrets"] == [{"source": "definitions", "target": path}]
    stateful = rabbitmq("local", "StatefulSet")["template"]["spec"]["containers"][0]
    production = rabbitmq("production", "RabbitmqCluster")["override"]["statefulSet"]["spec"]
    operated = production["template"]["spec"]["containers"][0]
    for container in (stateful, operated):
        [mount] = [one for one in container["volumeMounts"] if one["name"] == "definitions"]
        assert path == f"{mount['mountPath']}/definitions.json"


def test_rabbitmq_knows_how_much_memory_its_container_has() -> None:
    """In production its operator tells it."""
    known = settings(CONFIGURATION)["total_memory_available_override_value"]
    container = rabbitmq("local", "StatefulSet")["template"]["spec"]["containers"][0]
    assert known == f"{container['resources']['limits']['memory']}B"
    assert known.lower() == f"{COMPOSE['services']['rabbitmq']['mem_limit']}ib"
