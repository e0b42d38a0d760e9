"""PURE: what each service's user may do on RabbitMQ, as regular expressions (W22).

    configure   make and remove queues and exchanges
    write       publish to an exchange; bind a queue, which is "written" then
    read        consume a queue; bind an exchange's messages, which is "read" then

Whoever may write to the default exchange reaches every queue, so only reading keeps services apart:
no gateway can look into commands, logs or mailboxes, only into what is for a node.
"""

from dataclasses import dataclass

from shared.broker.topology import (
    AMONG_GATEWAYS,
    EXTENSIONS,
    FROM_GATEWAYS,
    FROM_SERVICES,
    POISON,
    PRESENCE,
    QUESTIONS,
    ROUTER,
    UNDELIVERED,
)

DEFAULT_EXCHANGE = r"amq\.default"
NEWS = r"news\..*"


@dataclass(frozen=True)
class Permissions:
    """What one user may do; a name must match as a whole."""

    configure: str
    write: str
    read: str


def _may(configure: tuple[str, ...], write: tuple[str, ...], read: tuple[str, ...]) -> Permissions:
    return Permissions(*(f"^({'|'.join(names)})$" for names in (configure, write, read)))


def _replica(service: str, *further: str) -> Permissions:
    own = (rf"{service}\.(commands|log|terms)\.\d+", NEWS, *further)
    fanouts = (FROM_GATEWAYS, FROM_SERVICES)
    return _may(
        (*own, POISON.name, *fanouts, QUESTIONS),
        (DEFAULT_EXCHANGE, NEWS, *fanouts),
        (*own, *fanouts, QUESTIONS),
    )


_NODE = (r"(inbox|direct|answers)\..*", NEWS, r"extension\.clients\..*")
_HEARD = (AMONG_GATEWAYS, FROM_GATEWAYS, FROM_SERVICES, QUESTIONS)

PERMISSIONS = {
    "gateway": _may(
        (*_NODE, UNDELIVERED.name, *_HEARD, EXTENSIONS),
        (DEFAULT_EXCHANGE, NEWS, AMONG_GATEWAYS, FROM_GATEWAYS, QUESTIONS, EXTENSIONS),
        (*_NODE, *_HEARD),
    ),
    "router": _replica(ROUTER),
    "presence": _replica(PRESENCE, UNDELIVERED.name),
    "worker": _may(
        (r"extension\..*", EXTENSIONS, POISON.name),
        (DEFAULT_EXCHANGE, r"extension\..*"),
        (r"extension\..*", EXTENSIONS),
    ),
    "operator": _may(
        (NEWS, FROM_GATEWAYS, FROM_SERVICES, QUESTIONS),
        (NEWS, QUESTIONS),
        (NEWS, FROM_GATEWAYS, FROM_SERVICES),
    ),
}
"""By user; ``operator`` is for ``realtime cluster`` and ``realtime trace``, which gateways may
run, too."""
