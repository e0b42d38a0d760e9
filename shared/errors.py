"""Everything that can go wrong, and what a client hears of it.

ServiceError                 500
├── BadRequest               400
│   ├── TooManyBadMessages   400, close 4400
│   └── MessageTooBig        400, close 1009
├── Unauthorized             401, close 4401
├── TokenRefused             401    the connection goes on with the token it has
├── Forbidden                403
│   ├── OriginRefused        403, close 4403
│   ├── Revoked              403, close 4403
│   └── Disconnected         403, close 4409
├── NotFound                 404
├── RateLimited              429
│   ├── Flooding             429, close 4429
│   ├── TooManyHandshakes    429
│   └── TooManyConnections   429, close 4429
├── WorkerFailed             400 to 599, as a worker of an extension has answered
├── Unavailable              503
│   ├── BrokerUnavailable    503
│   │   ├── Unroutable       503    no queue takes the message
│   │   └── Refused          503    the queue is full
│   ├── OutcomeUnknown       503    asked, but no answer came in time
│   ├── NodeFull             503
│   ├── Overloaded           503
│   ├── KeysUnavailable      503    the issuer has not told the keys of tokens
│   ├── NoWelcome            503, close 4503
│   ├── ReplayBroken         503, close 1013
│   └── GoingAway            503, close 1012
└── SlowConsumer             503, close 4413

An error leaves the connection open unless it has a close code (protocol decision S5).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar


class ServiceError(Exception):
    """The service met an unexpected fault."""

    reply_code: int = 500
    close_code: ClassVar[int | None] = None
    retry_after_ms: ClassVar[int | None] = None

    def __init__(self, message: str = "", **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        self.details: dict[str, Any] = details
        if self.retry_after_ms is not None:
            self.details.setdefault("retry_after_ms", self.retry_after_ms)
        super().__init__(self.message)


class BadRequest(ServiceError):
    """The message does not follow the protocol."""

    reply_code = 400


class TooManyBadMessages(BadRequest):
    """Too many bad messages in a row."""

    close_code = 4400


class MessageTooBig(BadRequest):
    """The message is larger than the limit."""

    close_code = 1009


class Unauthorized(ServiceError):
    """The token is missing, not valid or expired."""

    reply_code = 401
    close_code = 4401


class TokenRefused(ServiceError):
    """The new token cannot be used; the connection goes on with the one it has."""

    reply_code = 401


class Forbidden(ServiceError):
    """The token does not grant this."""

    reply_code = 403


class OriginRefused(Forbidden):
    """Pages of this origin may not connect."""

    close_code = 4403


class Revoked(Forbidden):
    """The token is good no more; do not come back with it."""

    close_code = 4403


class Disconnected(Forbidden):
    """An administrator has ended the connection."""

    close_code = 4409


class NotFound(ServiceError):
    """There is no such thing."""

    reply_code = 404


class RateLimited(ServiceError):
    """Too much at once; wait a moment."""

    reply_code = 429
    retry_after_ms = 1000


class Flooding(RateLimited):
    """Far too much, for too long."""

    close_code = 4429
    retry_after_ms = 60_000


class TooManyHandshakes(RateLimited):
    """Too many connections are asked for from this address."""


class TooManyConnections(RateLimited):
    """This user has too many connections."""

    close_code = 4429
    retry_after_ms = 10_000


class WorkerFailed(ServiceError):
    """A worker of an extension has answered with an error (X1)."""

    def __init__(self, code: int, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.reply_code = code
        if code in {429, 503}:
            self.details["retry_after_ms"] = 1000  # every error of this kind says when (S6)
        self.details |= details


class Unavailable(ServiceError):
    """The service cannot do this just now; try again later."""

    reply_code = 503
    retry_after_ms = 1000


class BrokerUnavailable(Unavailable):
    """The message broker did not take the message in time."""


class Unroutable(BrokerUnavailable):
    """No queue takes this message."""


class Refused(BrokerUnavailable):
    """The queue is full and refused the message."""


class OutcomeUnknown(Unavailable):
    """No answer came in time; the command may have been carried out."""


class NodeFull(Unavailable):
    """This node has as many connections as it may; another may have room."""


class Overloaded(Unavailable):
    """More connections are asked for than this node can take at once."""


class KeysUnavailable(Unavailable):
    """The key of the token is not known yet; try again."""


class NoWelcome(Unavailable):
    """The cluster did not confirm the connection in time."""

    close_code = 4503


class GoingAway(Unavailable):
    """The node is stopping; connect again."""

    close_code = 1012


class ReplayBroken(Unavailable):
    """What was missed could not be replayed to its end; connect again and recover."""

    close_code = 1013


class SlowConsumer(ServiceError):
    """The client reads more slowly than its topics speak."""

    reply_code = 503
    close_code = 4413


@contextmanager
def translate(mapping: Mapping[type[BaseException], type[ServiceError]]) -> Iterator[None]:
    """Turn a library's exceptions into ours at the border, cause attached.

    The first entry that fits decides, so put subclasses before their bases.
    """
    try:
        yield
    except tuple(mapping) as error:
        ours = next(ours for theirs, ours in mapping.items() if isinstance(error, theirs))
        raise ours(f"{ours().message} ({type(error).__name__})") from error
