"""Users whose names are made to break something: each is refused, or does no harm (T2)."""

import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.broker.memory import MemoryChannel
from shared.broker.ports import Address
from shared.topics.pattern import user_word
from tests.support.embedded import Place, token, until

REFUSED = [
    "",
    "a" * 129,
    "a\r\nb",
    'x\n{"level":"info","event":"forged"}',
    "\x1b[2J\x1b]0;pwned\x07",
    "nul\x00byte",
    "\u202etxt.exe",
    "zero\u200bwidth",
    "\ud800",
]
INERT = [
    "*",
    "#",
    "presence.#",
    "$service",
    "a.b.c",
    "../../etc/passwd",
    "'; DROP TABLE users; --",
    "<script>alert(1)</script>",
    "${jndi:ldap://evil}",
    "%2e%2e%23%0a",
    "{user_id}%s%n",
    "Zoë 🦊",
    "__proto__",
    "x" * 128,
]
KEY = re.compile(r"[\x21-\x7e]{0,255}\Z")
WORD = re.compile(r"[A-Za-z0-9_\-:@%]+\Z")


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
async def test_a_name_that_is_not_printable_is_refused_and_not_logged(
    place: Place, name: str
) -> None:
    headers = {"Authorization": f"Bearer {token(name)}"}
    with capture_logs() as lines:
        async with place.client.get("/ws", headers=headers) as answer:
            assert answer.status == 401
            assert not name or name not in await answer.text()
    assert not name or name not in repr(lines).encode().decode("unicode_escape")


@pytest.mark.parametrize("name", INERT, ids=ascii)
async def test_a_name_of_special_characters_is_a_name_like_any_other(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: set[str] = set()
    publish = MemoryChannel.publish

    async def watched(self: MemoryChannel, body: bytes, to: Address, **given: Any) -> None:
        keys.update(str(part) for part in vars_of(to))
        await publish(self, body, to, **given)

    monkeypatch.setattr(MemoryChannel, "publish", watched)
    odd, bob = await place.connect(name), await place.connect("bob")
    assert odd.welcome["user_id"] == name
    await bob.subscribe(f"presence.{user_word(name)}")
    await odd.subscribe("news")
    await bob.direct(name, "hello")
    await odd.direct("bob", "hello")
    await odd.broadcast("news", 1)
    told = [one["data"] for one in await odd.told()]
    assert [one.get("from_user") or one["metadata"]["from_user"] for one in told] == ["bob", name]
    heard = [one for one in await bob.told() if one["type"] == "DirectMessage"]
    assert [one["data"]["from_user"] for one in heard] == [name]
    assert WORD.match(user_word(name))
    assert keys
    assert [key for key in keys if not KEY.match(key) or name in key.split(".")] == []
    with capture_logs() as lines:
        await odd.close()
        await place.server.forgotten(name)
        await until(lambda: lines != [], "its end is logged")
    assert [one["user"] for one in lines if one["action"] == "close"] == [name]
    assert name not in [one["event"] for one in lines]


def vars_of(address: Address) -> list[object]:
    """The parts of an address."""
    return [getattr(address, part) for part in address.__slots__]
