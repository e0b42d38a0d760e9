"""Whether a RabbitMQ can be used, and if not, why not, in words."""

import socket
from collections.abc import Iterator

from ulid import ULID
from yarl import URL

from shared.broker import topology
from shared.broker.rabbitmq import RabbitMQBroker, RabbitMQConnection
from shared.broker.tls import TROUBLES
from shared.errors import BrokerUnavailable

LEAST_VERSION = (3, 10)


async def examine(url: str) -> str:
    """Connect as a service would, and make a queue that goes at once; return the version.

    Raises:
        BrokerUnavailable: it cannot be used; the message says why, without the password.
    """
    if not url.startswith(("amqp://", "amqps://")):
        raise BrokerUnavailable("must begin with amqp:// or amqps://")
    try:
        connection = await RabbitMQBroker(url).connect("check-config")
    except BrokerUnavailable as error:
        raise BrokerUnavailable(_why(error, url)) from error
    try:
        version = connection.server_version
        if _numbers(version) < LEAST_VERSION:
            raise BrokerUnavailable(f"RabbitMQ {version} is too old; 3.10 or newer is needed")
        if not await _may_make_a_queue(connection):
            raise BrokerUnavailable(
                f"the user {URL(url).user} may make no queue in the virtual host {_vhost(url)}; "
                "docs/containers.md tells what each service must be allowed"
            )
        return version
    finally:
        await connection.close()


async def _may_make_a_queue(connection: RabbitMQConnection) -> bool:
    for queue in topology.trials(str(ULID())):
        try:
            await (await connection.channel()).declare(queue)
        except BrokerUnavailable:
            continue
        return True
    return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _vhost(url: str) -> str:
    return URL(url).path.removeprefix("/") or "/"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _why(error: BrokerUnavailable, url: str) -> str:
    """Return in words what has kept us from connecting."""
    broken = list(_causes(error))
    said = " ".join(map(str, broken))
    try:
        where = f"{URL(url).host}:{URL(url).port or (5671 if url.startswith('amqps') else 5672)}"
        user = URL(url).user
    except ValueError:
        return "this is no URL; percent-encode what is special in the password"
    if any(isinstance(one, socket.gaierror) for one in broken):
        return f"there is no host {URL(url).host}"
    if refusals := [one for one in broken if isinstance(one, TROUBLES)]:
        return f"{where} and we cannot agree on TLS: {refusals[0]}"
    if any(isinstance(one, ConnectionRefusedError) for one in broken):
        return f"nothing listens at {where}"
    if any(isinstance(one, TimeoutError) for one in broken):
        return f"{where} does not answer in time"
    if "ACCESS_REFUSED" in said:
        return f"RabbitMQ at {where} does not let {user} in with this password"
    if "Connection.OpenOk" in said:
        return (
            f"there is no virtual host {_vhost(url)} on RabbitMQ at {where}, "
            f"or {user} may not use it"
        )
    return f"{where} does not answer as RabbitMQ does ({type(broken[-1]).__name__})"
