"""What the compose file and the Dockerfile say fits the code; no engine is needed."""

import re
from typing import Any

import pytest
import yaml

from shared.broker.permissions import PERMISSIONS
from shared.settings import KNOWN, Settings
from tests.compose.stack import COMPOSE, ROOT
from tests.deployment.tools import check

SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {"gateway": "gateway", "router": "router", "presence": "presence_service"}
SECRET = {"REALTIME_JWT_SECRET", "REALTIME_API_KEYS", "REALTIME_AMQP_URL"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HAPROXY = (ROOT / "deploy" / "haproxy.cfg").read_text()


@pytest.mark.parametrize("service", OURS)
def test_every_setting_exists_and_secrets_come_as_files(service: str) -> None:
    given = SERVICES[service]["environment"]
    assert {name.removesuffix("_FILE") for name in given} <= KNOWN.keys()
    assert SECRET.isdisjoint(given)
    own = SECRET if service == "gateway" else {"REALTIME_AMQP_URL"}
    assert {name for name in given if name.endswith("_FILE")} == {f"{one}_FILE" for one in own}


@pytest.mark.parametrize("service", OURS)
def test_a_service_is_given_the_secrets_that_it_reads_and_no_other(service: str) -> None:
    given = SERVICES[service]["environment"]
    read = {value for name, value in given.items() if name.endswith("_FILE")}
    assert read == {f"/run/secrets/{name}" for name in SERVICES[service]["secrets"]}
    assert f"/run/secrets/amqp_url_{service}" in read
    assert service in PERMISSIONS


@pytest.mark.parametrize("service", OURS)
def test_a_service_runs_its_own_module_without_any_rights(service: str) -> None:
    one = SERVICES[service]
    assert one["command"] == [OURS[service]]
    assert (ROOT / OURS[service] / "__main__.py").exists()
    assert one["user"] == "10001:10001"
    assert one["networks"] == ["inside"]
    assert "ports" not in one
    assert one["depends_on"].items() >= {"rabbitmq": {"condition": "service_healthy"}}.items() or (
        service == "gateway"
    )


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - {"secrets"}))
def test_what_keeps_running_is_nobody_may_nothing_writes_nothing_and_has_bounds(
    service: str,
) -> None:
    one = SERVICES[service]
    assert int(one["user"].split(":")[0]) > 0
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert "cap_add" not in one
    assert "privileged" not in one
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["pids_limit"]
    assert one["mem_limit"]
    assert one["logging"]["options"]["max-size"]
    assert all(each.endswith(":ro") or each.startswith(service) for each in one.get("volumes", []))
    assert "healthcheck" in one or service in OURS  # which have the image's


def test_what_makes_the_secrets_may_only_give_files_to_their_owner() -> None:
    one = SERVICES["secrets"]
    assert one["cap_drop"] == ["ALL"]
    assert set(one["cap_add"]) == {"CHOWN", "DAC_OVERRIDE", "FOWNER"}
    assert one["read_only"] is True
    assert one["network_mode"] == "none"
    assert one["security_opt"] == ["no-new-privileges:true"]


def test_only_the_balancers_port_for_clients_is_open_to_other_machines() -> None:
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    open_to_all = [port for port in published if not port.startswith("127.0.0.1:")]
    assert open_to_all == ["${REALTIME_PORT:-8081}:8081"]


def test_secrets_are_never_in_the_file_or_in_git() -> None:
    assert all(one.keys() == {"file"} for one in COMPOSE["secrets"].values())
    assert (ROOT / "secrets" / ".gitignore").read_text().split() == ["*", "!.gitignore"]
    text = (ROOT / "docker-compose.yml").read_text().replace("grafana_admin_password", "")
    assert not re.search(r"(?i)password|guest", text)


def test_a_container_is_killed_only_after_a_gateway_has_had_its_drain() -> None:
    grace = int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))
    assert grace >= Settings().drain_seconds + 20


def test_ports_are_those_of_the_settings() -> None:
    assert f"EXPOSE {Settings().port} 9081" in DOCKERFILE
    assert "REALTIME_ADMIN_PORT=9081" in DOCKERFILE
    assert f"gateway:{Settings().port}\n" in HAPROXY
    assert "check port 9081" in HAPROXY
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    ports = {
        one["job_name"]: one["dns_sd_configs"][0]["port"] for one in prometheus["scrape_configs"]
    }
    assert ports == {**dict.fromkeys(OURS, 9081), "rabbitmq": 15692, "rabbitmq-queues": 15692}


def test_the_image_holds_every_package_and_runs_as_nobody() -> None:
    copied = set(re.findall(r"^COPY (\S+) \1$", DOCKERFILE, re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert copied >= packages | {"clients/python"}
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


def test_docker_compose_understands_the_file() -> None:
    check("docker-compose", "--file", ROOT / "docker-compose.yml", "config", "--quiet")


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    check("hadolint", ROOT / "Dockerfile")
