"""What a gateway counts, without sockets: gateway/metrics.py and those who tell it."""

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry
from ulid import ULID

from gateway.metrics import Metrics
from shared import clock
from shared.errors import (
    BadRequest,
    OriginRefused,
    ServiceError,
    SlowConsumer,
    Unauthorized,
    WorkerFailed,
)
from shared.messages.deliveries import TopicDelivery
from tests.unit.builders import direct_delivery, topic_delivery
from tests.unit.gateway_node import GatewayNode

NOW_MS = 1_800_000_000_000


@pytest.fixture
def node(monkeypatch) -> GatewayNode:
    """A gateway at a moment at which the clock stands still."""
    monkeypatch.setattr(clock, "time", SimpleNamespace(time_ns=lambda: NOW_MS * 1_000_000))
    return GatewayNode()


def minted(kind: str, seconds_ago: float) -> str:
    return f"{kind}_{ULID.from_timestamp(NOW_MS / 1000 - seconds_ago)}"


def sample(node: GatewayNode, name: str, **labels: str) -> float:
    value = node.registry.get_sample_value(f"realtime_gateway_{name}", labels)
    assert value is not None
    return value


def ages(node: GatewayNode, kind: str) -> tuple[float, float]:
    """Return how many deliveries were measured, and the sum of their ages."""
    measured = sample(node, "delivery_age_seconds_count", kind=kind)
    return measured, sample(node, "delivery_age_seconds_sum", kind=kind)


def late_broadcast(**fields: object) -> TopicDelivery:
    return topic_delivery(message_id=minted("broadcast", 7), **fields)


# ---- bytes ---------------------------------------------------------------------------------------


def test_the_bytes_of_a_broadcast_are_counted_for_each_who_is_given_it(node):
    clients = [node.client(f"c{n}", f"u{n}", "chat.general") for n in range(4)]
    clients[1].slow = True
    node.client("c9", "eve", "news")

    node.deliver(topic_delivery(except_connection="c3"))

    frame = clients[0].frames[0]
    assert [len(one.frames) for one in clients] == [1, 1, 1, 0]
    assert sample(node, "sent_bytes_total") == 3 * len(frame)
    assert sample(node, "topic_deliveries_total") == 2  # who reads slowly has it not yet


def test_a_broadcast_that_nobody_is_given_is_neither_counted_nor_measured(node):
    client = node.client("c1", "bob", "chat.general")
    client.lags = True

    node.deliver(late_broadcast(number=1, low=True), late_broadcast(number=2, topic="news"))

    assert sample(node, "sent_bytes_total") == 0
    assert ages(node, "topic") == (0, 0)


def test_replies_and_direct_messages_are_counted_with_their_frames(node):
    client = node.client("c1")

    client.connection.reply([b"{}", b"{}"])
    node.direct(direct_delivery())

    assert sample(node, "sent_bytes_total") == sum(map(len, client.frames))


async def test_a_direct_message_that_the_client_is_to_confirm_is_counted_when_it_is_written(node):
    client = node.client("c1", confirms=True)

    node.direct(direct_delivery())

    assert sample(node, "sent_bytes_total") == len(client.frames[0])


def test_what_finds_no_socket_any_more_is_not_counted(node):
    node.client("c1").gone = True

    node.direct(direct_delivery(message_id=minted("dm", 1)))

    assert sample(node, "sent_bytes_total") == 0
    assert ages(node, "direct") == (0, 0)


# ---- ages ----------------------------------------------------------------------------------------


def test_the_age_of_a_broadcast_is_measured_once_however_many_are_given_it(node):
    for number in range(3):
        node.client(f"c{number}", f"u{number}", "chat.general")

    node.deliver(late_broadcast())

    assert ages(node, "topic") == (1, 7)


def test_a_repeat_of_a_broadcast_is_counted_once(node):
    node.client("c1", "bob", "chat.general")

    for _ in range(2):
        node.deliver(late_broadcast(number=1))

    assert ages(node, "topic")[0] == sample(node, "topic_deliveries_total") == 1


def test_an_announcement_of_presence_has_no_age(node):
    node.client("c1", "bob", "chat.general")

    node.deliver(topic_delivery(message_id=""))

    assert ages(node, "topic") == (0, 0)


def test_an_id_that_is_ahead_of_this_clock_is_of_age_zero(node):
    node.client("c1", "bob", "chat.general")

    node.deliver(topic_delivery(message_id=minted("broadcast", -60)))

    assert ages(node, "topic") == (1, 0)


@pytest.mark.parametrize("confirms", [False, True])
async def test_the_age_of_a_direct_message_is_measured_once_when_it_is_written(node, confirms):
    first, second = node.client("c1", confirms=confirms), node.client("c2", confirms=confirms)

    node.direct(direct_delivery(message_id=minted("dm", 7)))

    assert [len(one.frames) for one in (first, second)] == [1, 1]
    assert ages(node, "direct") == (1, 7)


def test_a_direct_message_is_measured_no_earlier_than_its_clients_welcome(node):
    client = node.client("c1", welcomed=False)
    node.direct(direct_delivery(message_id=minted("dm", 7)))
    assert ages(node, "direct") == (0, 0)

    node.welcome(client)

    assert ages(node, "direct") == (1, 7)


async def test_a_direct_message_that_is_offered_again_is_not_measured_again(node):
    careless, plain = node.client("c1", confirms=True), node.client("c2")
    node.direct(direct_delivery(message_id=minted("dm", 7), connection_id="c1"))

    careless.let_time_pass()

    assert [len(one.frames) for one in (careless, plain)] == [1, 1]
    assert ages(node, "direct") == (1, 7)


def test_how_long_a_message_was_in_a_mailbox_is_not_measured(node):
    client = node.client("c1")

    node.direct(direct_delivery(message_id=minted("dm", 3600), queued=True))

    assert len(client.frames) == 1
    assert ages(node, "direct") == (0, 0)


# ---- batches -------------------------------------------------------------------------------------


def test_batches_are_measured_by_how_much_is_in_them(node):
    node.deliver(topic_delivery(number=1), topic_delivery(number=2))
    node.deliver()  # only says how far the partition has come
    node.direct(direct_delivery())

    assert sample(node, "batch_items_count", direction="received") == 2
    assert sample(node, "batch_items_sum", direction="received") == 3
    assert sample(node, "batches_total", service="router") == 1


# ---- labels --------------------------------------------------------------------------------------


def series(registry: CollectorRegistry) -> int:
    return sum(len(one.samples) for one in registry.collect())


def test_a_worker_that_answers_with_any_code_makes_no_series_of_it():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    before = series(registry)

    for code in range(400, 600):
        metrics.error(WorkerFailed(code, "", {}))

    assert series(registry) == before
    name = "realtime_gateway_errors_total"
    assert registry.get_sample_value(name, {"code": "403"}) == 1
    assert registry.get_sample_value(name, {"code": "other"}) == 200 - 7


def test_why_an_upgrade_was_refused_is_one_of_few_reasons():
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    for error in (OriginRefused(), Unauthorized(), BadRequest(), ValueError("no upgrade")):
        metrics.refusal(error)

    name = "realtime_gateway_refusals_total"
    for reason in ("origin", "token", "request", "upgrade"):
        assert registry.get_sample_value(name, {"reason": reason}) == 1


def test_closes_are_counted_by_the_code_that_the_client_sees():
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    for error in (SlowConsumer(), ServiceError()):
        metrics.close(error)

    for code in ("4413", "1011"):
        name = "realtime_gateway_closes_total"
        assert registry.get_sample_value(name, {"code": code}) == 1
