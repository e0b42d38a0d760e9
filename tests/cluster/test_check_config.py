"""``realtime check-config --connect`` over RabbitMQ, and what a service says of its settings."""

import asyncio
import os
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from yarl import URL

from shared.broker.permissions import PERMISSIONS
from standalone import examine
from standalone.command_line import commands
from tests.support.broker import Troubled
from tests.support.cluster import free_ports

pytestmark = pytest.mark.rabbitmq

SECRET = "pa55word"


@pytest.fixture(scope="module")
def users(rabbitmq: Troubled) -> Iterator[Troubled]:
    """A RabbitMQ with the users of the services, one who may do nothing, and a stranger."""
    for user in (*PERMISSIONS, "powerless", "stranger"):
        rabbitmq.ctl("add_user", user, SECRET)
    for user, may in PERMISSIONS.items():
        rabbitmq.ctl("set_permissions", user, may.configure, may.write, may.read)
    rabbitmq.ctl("set_permissions", "powerless", "^$", "^$", "^$")
    return rabbitmq


def connect(url: str) -> tuple[int, str]:
    """Return the exit status, and what is said of RabbitMQ."""
    environ = {"REALTIME_MODE": "development", "REALTIME_AMQP_URL": url}
    result = CliRunner().invoke(commands, ["check-config", "--connect"], env=environ)
    assert SECRET not in result.output
    said = [line for line in result.stderr.splitlines() if "RabbitMQ" in line or "AMQP" in line]
    return result.exit_code, "\n".join(said)


def url_of(rabbitmq: Troubled, user: str, password: str = SECRET) -> URL:
    return URL(rabbitmq.url).with_user(user).with_password(password)


@pytest.mark.parametrize("user", PERMISSIONS)
def test_the_user_of_each_service_can_use_rabbitmq(users: Troubled, user: str) -> None:
    status, said = connect(str(url_of(users, user)))

    assert status == 0
    assert said.startswith("RabbitMQ ")
    assert said.endswith(" can be used.")


def test_nothing_stays_on_rabbitmq(users: Troubled) -> None:
    connect(users.url)

    assert "trial" not in users.ctl("list_queues", "--no-table-headers", "name")
    assert "from-services" not in users.ctl("list_exchanges", "--no-table-headers", "name")


def test_a_wrong_password_is_told(users: Troubled) -> None:
    status, said = connect(str(url_of(users, "gateway", "wrong")))

    assert status == 2
    assert "does not let gateway in with this password" in said


@pytest.mark.parametrize(("user", "path"), [("gateway", "/nowhere"), ("stranger", "/")])
def test_a_virtual_host_that_cannot_be_used_is_named(users: Troubled, user: str, path: str) -> None:
    status, said = connect(str(url_of(users, user).with_path(path)))

    assert status == 2
    assert f"there is no virtual host {path.removeprefix('/') or '/'} on RabbitMQ" in said
    assert f"or {user} may not use it" in said


def test_a_user_who_may_make_no_queue_is_named(users: Troubled) -> None:
    status, said = connect(str(url_of(users, "powerless")))

    assert status == 2
    assert "the user powerless may make no queue in the virtual host /" in said


def test_a_rabbitmq_that_is_too_old_is_refused(
    users: Troubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "LEAST_VERSION", (99, 0))

    status, said = connect(users.url)

    assert status == 2
    assert "is too old" in said


def test_no_rabbitmq_at_all_is_told() -> None:
    [port] = free_ports(1)

    status, said = connect(f"amqp://bob:{SECRET}@127.0.0.1:{port}/")

    assert status == 2
    assert f"Wrong: REALTIME_AMQP_URL: nothing listens at 127.0.0.1:{port}" in said


async def test_a_service_warns_at_its_start_of_a_variable_that_nothing_reads() -> None:
    environ = {**os.environ, "REALTIME_MODE": "development", "REALTIME_LOGLEVEL": SECRET}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "router"),
        env={**environ, "REALTIME_LOG_JSON": "true"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            line = (await process.stderr.readline()).decode()
        assert '"variable": "REALTIME_LOGLEVEL"' in line
        assert '"nearest": "REALTIME_LOG_LEVEL"' in line
        assert SECRET not in line
    finally:
        process.terminate()
        await process.communicate()
