"""Where a token never goes (W7)."""

from typing import Any

import pytest
from prometheus_client import generate_latest

from shared.broker.memory import MemoryChannel
from shared.broker.ports import Address
from tests.component.test_handshake import bearer
from tests.support.embedded import Place, token
from tests.support.leaks import TOKEN


async def test_no_token_is_sent_to_the_broker_nor_shown_in_metrics(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    publish = MemoryChannel.publish

    async def watched(channel: MemoryChannel, body: bytes, to: Address, **properties: Any) -> None:
        sent.append(body + repr((to, properties)).encode())
        await publish(channel, body, to, **properties)

    monkeypatch.setattr(MemoryChannel, "publish", watched)
    first = token("alice", presence={"device": "web"})
    alice = await place.open(first)
    await place.open(headers=[bearer(token("bob"))])
    await place.open(protocols=[f"access_token.{token('carol')}"])
    await alice.hear()
    await alice.ask("Authenticate", {"token": token("alice")})
    await alice.broadcast("chat", 1)

    assert any(b"alice" in one for one in sent)
    assert not [one for one in sent if TOKEN.search(one.decode(errors="replace"))]
    assert not TOKEN.search(generate_latest(place.server.registry).decode())
