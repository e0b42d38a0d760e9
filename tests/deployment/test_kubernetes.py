"""What the manifests for Kubernetes say is lawful, safe and fits the code, without a cluster."""

import re
from pathlib import Path
from secrets import token_urlsafe

from opentelemetry.sdk import environment_variables

from gateway import drain, membership
from shared.settings import KNOWN, Settings, load
from tests.compose.stack import ROOT
from tests.deployment.manifests import CA, OVERLAYS, Manifest, of_kind, pods, selects
from tests.deployment.tools import check

MODULES = {"gateway": "gateway", "router": "router", "presence": "presence_service"}
KUBERNETES = "1.33"
SKIPPED = {
    "CKV_K8S_15": "Images have fixed tags, which may be taken from the machine",
    "CKV_K8S_43": "Who deploys knows the digest of the image that was built, this file does not",
}


def test_kubernetes_would_take_every_manifest(rendered: Path) -> None:
    check("kubernetes-validate", "-k", KUBERNETES, "--strict", rendered)


def test_checkov_finds_nothing_but_what_is_meant(rendered: Path) -> None:
    skips = ",".join(SKIPPED)
    check(
        "checkov",
        *("--directory", rendered.parent, "--framework", "kubernetes", "--compact", "--quiet"),
        *("--skip-download", "--skip-check", skips),
    )


def test_every_setting_exists_and_they_are_enough_to_start(manifests: list[Manifest]) -> None:
    [settings] = [
        one["data"]
        for name, one in of_kind(manifests, "ConfigMap").items()
        if name.startswith("settings")
    ]
    assert settings.keys() <= KNOWN.keys() | vars(environment_variables).keys()
    for name, pod in pods(manifests):
        if name == "rabbitmq":
            continue
        [container] = pod["spec"]["containers"]
        own = {one["name"]: one.get("value", name) for one in container["env"]}
        assert {one.removesuffix("_FILE") for one in own} <= KNOWN.keys()
        files = {one.removesuffix("_FILE") for one in own if one.endswith("_FILE")}
        plain = {one: value for one, value in own.items() if not one.endswith("_FILE")}
        secret = dict.fromkeys(files, f"amqp://somewhere/{token_urlsafe(24)}")
        load({**settings, **plain, **secret}, for_clients=name == "gateway")
        assert name == "gateway" or files == {"REALTIME_AMQP_URL"}


def test_every_file_that_a_setting_names_is_mounted_from_a_secret_that_is_made(
    manifests: list[Manifest],
) -> None:
    secrets = of_kind(manifests, "Secret")
    outside = {"rabbitmq-tls": {"ca.crt"}}
    for name, pod in pods(manifests):
        if name == "rabbitmq":
            continue
        [container], [volume] = pod["spec"]["containers"], pod["spec"]["volumes"]
        named = {one["value"] for one in container["env"] if one["name"].endswith("_FILE")}
        mounted = set()
        for source in volume["projected"]["sources"]:
            secret = source["secret"]
            held = outside.get(secret["name"]) or secrets[secret["name"]]["data"].keys()
            for item in secret["items"]:
                assert item["key"] in held, (name, item)
                mounted.add(f"{container['volumeMounts'][0]['mountPath']}/{item['path']}")
        assert named <= mounted <= named | {CA}, name
        assert f"amqp-{name}" in str(volume)


def test_each_service_runs_its_own_module(manifests: list[Manifest]) -> None:
    deployments = of_kind(manifests, "Deployment")
    assert deployments.keys() == MODULES.keys()
    for name, module in MODULES.items():
        [container] = deployments[name]["spec"]["template"]["spec"]["containers"]
        assert container["args"] == [module]
        assert (ROOT / module / "__main__.py").exists()


def test_ports_are_those_of_the_image(manifests: list[Manifest]) -> None:
    image = (ROOT / "Dockerfile").read_text()
    admin = int(re.findall(r"REALTIME_ADMIN_PORT=(\d+)", image)[0])
    for name, pod in pods(manifests):
        if name == "rabbitmq":
            continue
        [container] = pod["spec"]["containers"]
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        assert ports["admin"] == admin
        assert ports.get("clients", Settings().port) == Settings().port
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == "admin"
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for service in of_kind(manifests, "Service").values():
        for port in service["spec"]["ports"]:
            assert (
                port["port"]
                == {"clients": Settings().port, "admin": admin, "amqp": 5672}[port["name"]]
            )


def test_a_gateway_is_given_the_time_that_its_drain_takes(manifests: list[Manifest]) -> None:
    spec = of_kind(manifests, "Deployment")["gateway"]["spec"]["template"]["spec"]
    before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    hand_back = membership.FIRST_HAND_BACK_SECONDS + membership.HAND_BACK_SECONDS
    takes = before + Settings().drain_seconds + drain.LAST_SECONDS + hand_back + 10
    assert spec["terminationGracePeriodSeconds"] >= takes


def test_the_way_in_leads_to_clients_ports_only(manifests: list[Manifest]) -> None:
    for ingress in of_kind(manifests, "Ingress").values():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["path"] == "/ws"
                assert path["backend"]["service"] == {
                    "name": "gateway",
                    "port": {"name": "clients"},
                }
    types = {one["spec"].get("type", "ClusterIP") for one in of_kind(manifests, "Service").values()}
    assert types == {"ClusterIP"}


def test_every_selector_means_pods_that_there_are(manifests: list[Manifest]) -> None:
    labels = [pod["metadata"]["labels"] for _, pod in pods(manifests)]
    if of_kind(manifests, "RabbitmqCluster"):
        labels.append({"app.kubernetes.io/name": "rabbitmq"})  # the operator's
    found: list[Manifest] = [
        one["spec"]["podSelector"] for one in of_kind(manifests, "NetworkPolicy").values()
    ]
    found += [one["spec"]["selector"] for one in of_kind(manifests, "PodDisruptionBudget").values()]
    found += [
        {"matchLabels": one["spec"]["selector"]} for one in of_kind(manifests, "Service").values()
    ]
    for selector in found:
        assert any(selects(selector, one) for one in labels), selector


def test_a_pod_may_speak_with_nobody_but_whom_it_is_allowed_to(manifests: list[Manifest]) -> None:
    policies = of_kind(manifests, "NetworkPolicy")
    assert policies["nothing-else"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    into_gateways = [
        (one["metadata"]["name"], rule)
        for one in policies.values()
        for rule in one["spec"].get("ingress", [])
        if selects(one["spec"]["podSelector"], {"app.kubernetes.io/name": "gateway"})
    ]
    ports = {name: {port["port"] for port in rule["ports"]} for name, rule in into_gateways}
    assert ports == {"clients": {8081}, "back-ends": {9081}, "metrics": {9081}}
    assert all(rule["from"] for _, rule in into_gateways)


def test_each_service_scales_by_itself_and_is_never_taken_away_as_a_whole(
    manifests: list[Manifest],
) -> None:
    scalers = of_kind(manifests, "HorizontalPodAutoscaler")
    assert {one["spec"]["scaleTargetRef"]["name"] for one in scalers.values()} == MODULES.keys()
    assert all(one["spec"]["minReplicas"] >= 2 for one in scalers.values())
    nodes = {"rabbitmq"} if of_kind(manifests, "RabbitmqCluster") else set()
    assert of_kind(manifests, "PodDisruptionBudget").keys() == MODULES.keys() | nodes


def test_no_secret_is_in_an_environment_and_none_is_checked_in(manifests: list[Manifest]) -> None:
    for _, pod in pods(manifests):
        for container in pod["spec"]["containers"]:
            assert "secretKeyRef" not in str(container)
            assert "secretRef" not in str(container)
    for overlay in OVERLAYS:
        ignored = ROOT / "k8s" / "overlays" / overlay / "secrets" / ".gitignore"
        assert ignored.read_text().split() == ["*", "!.gitignore"]


def test_nobody_opens_aiomonitor_or_speaks_with_kubernetes(manifests: list[Manifest]) -> None:
    assert "AIOMONITOR" not in str(manifests)
    for _, pod in pods(manifests):
        assert pod["spec"]["automountServiceAccountToken"] is False
