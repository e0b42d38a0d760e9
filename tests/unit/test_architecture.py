"""The layering of the checkout, read from its imports."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SERVICES = frozenset({"gateway", "router", "presence_service"})
OURS = SERVICES | {"shared", "extensions", "standalone", "realtime_client"}
RUNTIME = frozenset({"asyncio", "aiohttp", "aio_pika"})
AMQP = frozenset({"aio_pika", "aiormq", "pamqp"})
PURE = (
    "shared/messages/",
    "shared/topics/",
    "shared/partitions.py",
    "shared/recent.py",
    "shared/loopback.py",
    "shared/public_keys.py",
    "shared/secrecy.py",
    "shared/contradictions.py",
    "shared/token_keys.py",
    "shared/overview.py",
    "shared/ownership/leases.py",
    "shared/ownership/peers.py",
    "shared/ownership/effects.py",
    "shared/ownership/idempotency.py",
    "shared/ownership/owner.py",
)


@dataclass(frozen=True)
class Module:
    path: str
    names: frozenset[str]
    """The packages it imports."""

    @property
    def package(self) -> str:
        return self.path.removeprefix("clients/python/").split("/")[0]

    @property
    def is_pure(self) -> bool:
        return "/core/" in self.path or self.path.startswith(PURE)


def read(path: str, source: str) -> Module:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:  # else it stays in its package
            names.add(str(node.module).split(".")[0])
    return Module(path, frozenset(names))


def modules() -> Iterator[Module]:
    for package in OURS:
        home = CHECKOUT / "clients/python" if package == "realtime_client" else CHECKOUT
        for file in (home / package).rglob("*.py"):
            yield read(file.relative_to(CHECKOUT).as_posix(), file.read_text())


MAY_IMPORT = {
    **{service: {service, "shared"} for service in SERVICES},
    "extensions": {"extensions", "shared"},
    "shared": {"shared"},
    "realtime_client": {"realtime_client"},
    "standalone": OURS,
}


def strangers(found: Iterable[Module]) -> list[str]:
    """Return the modules that import a package of ours that they may not know."""
    return sorted(one.path for one in found if one.names & OURS - MAY_IMPORT[one.package])


def impure(found: Iterable[Module]) -> list[str]:
    return sorted(one.path for one in found if one.is_pure and one.names & RUNTIME)


def amqp_speakers(found: Iterable[Module]) -> list[str]:
    return sorted(one.path for one in found if one.names & AMQP)


def test_the_whole_tree_is_read():
    assert {one.package for one in modules()} == OURS
    assert len([one for one in modules() if one.is_pure]) > 15


def test_services_know_the_ground_and_not_each_other():
    assert strangers(modules()) == []


def test_pure_code_needs_no_event_loop_no_socket_and_no_broker():
    assert impure(modules()) == []


def test_one_file_speaks_amqp():
    assert amqp_speakers(modules()) == ["shared/broker/rabbitmq.py"]


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (strangers, "gateway/app.py", "from router.app import make_router"),
        (strangers, "router/core/plan.py", "import gateway"),
        (strangers, "presence_service/app.py", "def late():\n    import router.app"),
        (strangers, "router/app.py", "from standalone import embedded"),
        (strangers, "shared/errors.py", "from presence_service.core import mailbox"),
        (strangers, "shared/errors.py", "import realtime_client"),
        (strangers, "extensions/worker.py", "from gateway import answers"),
        (strangers, "gateway/extensions.py", "from extensions import Ask"),
        (strangers, "clients/python/realtime_client/client.py", "from shared import errors"),
        (impure, "gateway/core/session.py", "import asyncio"),
        (impure, "shared/messages/frames.py", "from aiohttp import web"),
        (impure, "shared/topics/trie.py", "import asyncio.queues as queues"),
        (impure, "shared/partitions.py", "import aio_pika"),
        (impure, "shared/ownership/leases.py", "from asyncio import Event"),
        (impure, "shared/ownership/effects.py", "if True:\n    import asyncio"),
        (
            impure,
            "shared/ownership/idempotency.py",
            "import json, asyncio",
        ),
        (amqp_speakers, "gateway/uplink.py", "import aio_pika"),
        (amqp_speakers, "shared/broker/memory.py", "from aiormq.abc import DeliveredMessage"),
        (amqp_speakers, "standalone/talk.py", "import pamqp.commands"),
    ],
)
def test_a_breach_of_a_rule_is_seen(rule, path, source):
    assert rule([read(path, source)]) == [path]


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (strangers, "standalone/embedded.py", "import gateway, router, presence_service, shared"),
        (strangers, "router/app.py", "from shared.broker import topology\nfrom . import core"),
        (impure, "shared/ownership/reign.py", "import asyncio"),
        (impure, "gateway/uplink.py", "import asyncio"),
    ],
)
def test_what_the_rules_allow_is_not_held_against_a_module(rule, path, source):
    assert rule([read(path, source)]) == []
