"""RabbitMQ with TLS, and an authority that only its users know (W22)."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.broker.rabbitmq import RabbitMQBroker
from shared.errors import BrokerUnavailable
from standalone.examine import examine
from standalone.private_rabbitmq import PrivateRabbitMQ
from tests.support.certificates import Authority
from tests.support.cluster import Hearing, clients, eventually, free_ports, make_cluster, url_of
from tests.support.rabbitmq import can_run_privately

pytestmark = pytest.mark.rabbitmq


class Secured(NamedTuple):
    """A node that speaks TLS."""

    node: PrivateRabbitMQ
    port: int
    authority: Path
    stranger: Path
    """The certificate of another authority."""

    def url(self, cafile: Path | None, host: str = "localhost") -> str:
        query = "" if cafile is None else f"?cafile={cafile}"
        return f"amqps://guest:guest@{host}:{self.port}/{query}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A node whose certificate is for ``localhost``, and for nothing else."""
    if not can_run_privately():
        pytest.fail("A RabbitMQ that tests may configure is needed: install rabbitmq-server")
    place, elsewhere = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("strangers")
    authority, stranger = Authority(place), Authority(elsewhere)
    cert_file, key_file = authority.issue("rabbitmq", "localhost")
    [port] = free_ports(1)
    settings = (
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {authority.path}",
        f"ssl_options.certfile = {cert_file}",
        f"ssl_options.keyfile = {key_file}",
        "ssl_options.verify = verify_none",
        "ssl_options.fail_if_no_peer_cert = false",
    )
    with PrivateRabbitMQ(settings=settings) as node:
        yield Secured(node, port, authority.path, stranger.path)


async def test_a_whole_cluster_talks_over_amqps(secured: Secured, tmp_path: Path) -> None:
    with make_cluster(secured.url(secured.authority), tmp_path) as cluster:
        async with clients((url_of(cluster, 0), "alice"), (url_of(cluster, 1), "bob")) as (
            alice,
            bob,
        ):
            hearing = Hearing(bob)
            await bob.subscribe("chat")
            assert (await alice.broadcast("chat", 1))["recipients"] == 1
            assert (await alice.direct_message("bob", 2))["status"] == "delivered"
            assert (await alice.direct_message("carol", 3))["status"] == "queued"
            await hearing.until(lambda one: one["type"] == "DirectMessage")
            hearing.stop()
        found = json.loads(
            secured.node.ctl("list_connections", "ssl", "ssl_protocol", "--formatter", "json")
        )
    assert len(found) >= 8  # two of each gateway, one of each replica
    assert {one["ssl"] for one in found} == {True}
    assert {one["ssl_protocol"] for one in found} <= {"tlsv1.2", "tlsv1.3"}


@pytest.mark.parametrize("doubt", ["strangers", "systems", "other host"])
async def test_a_rabbitmq_that_our_authority_does_not_vouch_for_is_refused(
    secured: Secured, doubt: str
) -> None:
    url = {
        "strangers": secured.url(secured.stranger),
        "systems": secured.url(None),
        "other host": secured.url(secured.authority, "127.0.0.1"),
    }[doubt]

    with pytest.raises(BrokerUnavailable, match=r"No TLS with RabbitMQ.*certificate") as caught:
        await RabbitMQBroker(url).connect("test")

    causes = caught.value.__cause__, caught.value.__cause__.__cause__
    assert any(isinstance(one, ssl.SSLCertVerificationError) for one in causes)
    with pytest.raises(BrokerUnavailable, match="cannot agree on TLS"):
        await examine(url)


async def test_the_right_authority_is_enough(secured: Secured) -> None:
    assert await examine(secured.url(secured.authority))


async def test_an_authority_that_is_not_there_is_told(secured: Secured, tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailable, match=r"No TLS with RabbitMQ: .*No such file"):
        await RabbitMQBroker(secured.url(tmp_path / "missing.pem")).connect("test")


@pytest.mark.parametrize("module", ["gateway", "router", "presence_service"])
async def test_each_service_says_in_its_log_why_it_does_not_trust_rabbitmq(
    secured: Secured, tmp_path: Path, module: str
) -> None:
    cluster = make_cluster(secured.url(secured.stranger), tmp_path, gateways=1)
    [port] = cluster.gateway_ports
    try:
        cluster.add(module, "doubtful", REALTIME_PORT=str(port))

        def told() -> bool:
            logs = "".join(one.read_text() for one in tmp_path.iterdir())
            return "No TLS with RabbitMQ" in logs and "certificate verify failed" in logs

        await eventually(told, 30, "the log says it")
    finally:
        cluster.stop()
