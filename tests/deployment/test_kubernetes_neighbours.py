"""Who speaks with whom, as whom, and what operators are asked for: without a cluster."""

import base64
from urllib.parse import SplitResult, urlsplit

import pytest

from tests.deployment.manifests import CA, Manifest, of_kind, pods, selects

SERVICES = ("gateway", "router", "presence")
NAMES = {("UDP", 53), ("TCP", 53)}


def labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def ports(rule: Manifest) -> set[tuple[str, int]]:
    return {(one["protocol"], one["port"]) for one in rule["ports"]}


def url_of_rabbitmq(manifests: list[Manifest], service: str) -> SplitResult:
    """Return the URL that a service is given."""
    [url] = [
        value
        for secret in of_kind(manifests, "Secret").values()
        for key, value in secret["data"].items()
        if key == f"amqp_url_{service}"
    ]
    return urlsplit(base64.b64decode(url).decode().strip())


def port_of_rabbitmq(manifests: list[Manifest], service: str) -> int:
    port = url_of_rabbitmq(manifests, service).port
    assert port is not None
    return port


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_reach_names_and_rabbitmq_and_nothing_else(
    manifests: list[Manifest], service: str
) -> None:
    going = [
        rule
        for one in of_kind(manifests, "NetworkPolicy").values()
        for rule in one["spec"].get("egress", [])
        if selects(one["spec"]["podSelector"], labels(service))
    ]
    settings = of_kind(manifests, "ConfigMap")
    [values] = [one["data"] for name, one in settings.items() if name.startswith("settings-")]
    [names, rabbitmq, *spans] = going
    assert [ports(one) for one in spans] == [
        {("TCP", urlsplit(url).port)}
        for name, url in values.items()
        if name == "OTEL_EXPORTER_OTLP_ENDPOINT"
    ]
    assert names.keys() == {"ports"}
    assert ports(names) == NAMES
    assert rabbitmq["to"] == [{"podSelector": {"matchLabels": labels("rabbitmq")}}]
    assert ports(rabbitmq) == {("TCP", 5671), ("TCP", 5672)}
    assert ("TCP", port_of_rabbitmq(manifests, service)) in ports(rabbitmq)


@pytest.mark.parametrize("service", SERVICES)
def test_rabbitmq_lets_a_service_in_on_the_port_in_its_url_only(
    manifests: list[Manifest], service: str
) -> None:
    spec = of_kind(manifests, "NetworkPolicy")["rabbitmq"]["spec"]
    coming = [
        rule
        for rule in spec["ingress"]
        for one in rule["from"]
        if "namespaceSelector" not in one and selects(one["podSelector"], labels(service))
    ]
    [rule] = coming
    assert ports(rule) == {("TCP", port_of_rabbitmq(manifests, service))}


def test_each_service_has_an_account_of_its_own(manifests: list[Manifest]) -> None:
    accounts = of_kind(manifests, "ServiceAccount")
    for name, pod in pods(manifests):
        assert pod["spec"]["serviceAccountName"] == name
        assert accounts[name]["automountServiceAccountToken"] is False


def test_no_service_is_short_of_a_pod_while_it_is_replaced(manifests: list[Manifest]) -> None:
    for deployment in of_kind(manifests, "Deployment").values():
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {
            "maxUnavailable": 0,
            "maxSurge": 1,
        }


def test_nodes_of_rabbitmq_reach_each_other_on_every_port_that_they_use(
    manifests: list[Manifest],
) -> None:
    """Discovery, the cluster itself, and replicas of streams (rabbitmq.com/docs/networking)."""
    if not of_kind(manifests, "RabbitmqCluster"):
        return
    spec = of_kind(manifests, "NetworkPolicy")["rabbitmq"]["spec"]
    node = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "rabbitmq"}}}
    [coming] = [one["ports"] for one in spec["ingress"] if one["from"] == [node]]
    [going] = [one["ports"] for one in spec["egress"] if one.get("to") == [node]]
    ports = {(one["port"], one.get("endPort", one["port"])) for one in coming}
    assert ports == {(4369, 4369), (25672, 25672), (6000, 6500)}
    assert coming == going


def test_the_namespace_takes_the_pods_of_rabbitmqs_operator(manifests: list[Manifest]) -> None:
    """Of itself, an operator before 2.17 sets less than the level ``restricted`` asks for."""
    assert {
        one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for one in of_kind(manifests, "Namespace").values()
    } == {"restricted"}
    for cluster in of_kind(manifests, "RabbitmqCluster").values():
        pod = cluster["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [starts], [runs] = pod["initContainers"], pod["containers"]
        assert (starts["name"], runs["name"]) == ("setup-container", "rabbitmq")
        for container in (starts, runs):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_operators_rabbitmq_speaks_tls_only_and_loads_the_users_that_are_made(
    manifests: list[Manifest],
) -> None:
    for cluster in of_kind(manifests, "RabbitmqCluster").values():
        spec = cluster["spec"]
        assert spec["replicas"] == 3
        assert spec["tls"]["disableNonTLSListeners"] is True
        pod = spec["override"]["statefulSet"]["spec"]["template"]["spec"]
        [mount], [volume] = pod["containers"][0]["volumeMounts"], pod["volumes"]
        assert mount["name"] == volume["name"]
        secret = of_kind(manifests, "Secret")[volume["secret"]["secretName"]]
        [key] = secret["data"]
        loads = f"load_definitions = {mount['mountPath']}/{key}"
        assert loads in spec["rabbitmq"]["additionalConfig"].splitlines()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_trusts_the_operators_rabbitmq_by_the_authority_of_its_secret_alone(
    manifests: list[Manifest], service: str
) -> None:
    for cluster in of_kind(manifests, "RabbitmqCluster").values():
        url = url_of_rabbitmq(manifests, service)
        assert (url.scheme, url.hostname) == ("amqps", "rabbitmq.realtime.svc")
        assert url.query == f"cafile={CA}"
        [pod] = [pod for name, pod in pods(manifests) if name == service]
        [container], [volume] = pod["spec"]["containers"], pod["spec"]["volumes"]
        [mount] = container["volumeMounts"]
        assert mount["name"] == volume["name"]
        mounted = {
            f"{mount['mountPath']}/{item['path']}": (source["secret"]["name"], item["key"])
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        assert mounted[CA] == (cluster["spec"]["tls"]["caSecretName"], "ca.crt")


def test_prometheus_scrapes_the_admin_port_of_every_process_ready_or_not(
    manifests: list[Manifest],
) -> None:
    services = of_kind(manifests, "Service").values()
    monitors = of_kind(manifests, "ServiceMonitor")
    assert bool(monitors) == bool(of_kind(manifests, "PrometheusRule"))  # of the same component
    if monitors:
        monitor = monitors["realtime"]
        [endpoint] = monitor["spec"]["endpoints"]
        assert endpoint["path"] == "/metrics"
        for name, pod in pods(manifests):
            if name not in SERVICES:
                continue
            [service] = [
                one["spec"]
                for one in services
                if selects(monitor["spec"]["selector"], one["metadata"]["labels"])
                and one["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
            ]
            assert service["publishNotReadyAddresses"]
            [port] = service["ports"]
            assert port["name"] == endpoint["port"]
            [container] = pod["spec"]["containers"]
            assert port["targetPort"] in {one["name"] for one in container["ports"]}


def test_prometheus_may_reach_rabbitmq_where_its_operator_has_the_metrics(
    manifests: list[Manifest],
) -> None:
    """A port ``prometheus-tls``, 15691 (rabbitmq.com/kubernetes/operator/operator-monitoring)."""
    monitors = of_kind(manifests, "ServiceMonitor")
    clusters = of_kind(manifests, "RabbitmqCluster")
    if not monitors or not clusters:
        return
    monitor, policy = monitors["rabbitmq"], of_kind(manifests, "NetworkPolicy")["rabbitmq"]
    assert {one["port"] for one in monitor["spec"]["endpoints"]} == {"prometheus-tls"}
    for one in monitor["spec"]["endpoints"]:
        assert (
            one["tlsConfig"]["ca"]["secret"]["name"]
            == clusters["rabbitmq"]["spec"]["tls"]["caSecretName"]
        )
    prometheus = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    }
    [may] = [one for one in policy["spec"]["ingress"] if one["from"] == [prometheus]]
    assert ports(may) == {("TCP", 15691)}
