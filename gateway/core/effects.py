"""PURE: what a session decides must happen."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from gateway.core.attempts import Attempt
from gateway.core.replies import Reply
from shared.errors import ServiceError
from shared.messages import client
from shared.messages.binary import Binary


class Turn(Enum):
    """Whose turn a reply awaits (R1)."""

    FREE = "free"
    TOPIC = "topic"
    DIRECT = "direct"


@dataclass(frozen=True)
class Respond:
    """Write this reply."""

    reply: Reply
    turn: Turn


@dataclass(frozen=True)
class Fail:
    """Write this error; close if it has a close code."""

    error: ServiceError
    id: str | None
    turn: Turn


@dataclass(frozen=True)
class Join:
    """Subscribe to ``new`` and answer for ``topics``."""

    topics: list[str]
    new: list[str]
    active: int
    id: str | None
    mark: int
    """Tells this request from an earlier or later one for the same pattern."""

    recover: dict[str, client.RecoverFrom]
    """What was missed of some of the topics is to be replayed (H3)."""


@dataclass(frozen=True)
class Leave:
    """Unsubscribe from ``held`` and answer for ``topics``."""

    topics: list[str]
    held: list[str]
    active: int
    id: str | None


@dataclass(frozen=True)
class Publish:
    """Have a broadcast routed."""

    body: client.Broadcast
    command: client.Command
    attempt: Attempt
    binary: Binary | None = None
    """The binary message that it came as, which is acknowledged in its own way (B2)."""


@dataclass(frozen=True)
class Send:
    """Have a direct message routed."""

    body: client.DirectMessage
    command: client.Command
    attempt: Attempt
    binary: Binary | None = None


@dataclass(frozen=True)
class Show:
    """Tell others how this user is to be seen."""

    body: client.Presence
    id: str | None


@dataclass(frozen=True)
class Look:
    """Look into a topic's history (H1)."""

    body: client.History
    id: str | None
    ask: str


@dataclass(frozen=True)
class Query:
    """Ask who is online, or subscribed (P3)."""

    body: client.PresenceQuery
    id: str | None


@dataclass(frozen=True)
class Confirm:
    """The client has these direct messages (R2)."""

    message_ids: list[str]
    reply: Reply


@dataclass(frozen=True)
class Renew:
    """Check a fresh token and go on with it."""

    token: str
    id: str | None


@dataclass(frozen=True)
class Ask:
    """Have a worker carry out a command of an extension (X1)."""

    body: client.Extension
    metadata: bytes
    id: str | None
    ask: str


@dataclass(frozen=True)
class Serve:
    """Be handed the commands of exactly those extensions that the session serves now (X1)."""

    new: list[str]
    id: str | None


@dataclass(frozen=True)
class Answer:
    """Answer a command of an extension that this client serves (X1)."""

    to: str
    answer: bytes
    id: str | None


@dataclass(frozen=True)
class Several:
    """Receive these messages, in order (X4)."""

    operations: list[bytes]

    id: str | None


Effect: TypeAlias = (
    Respond
    | Fail
    | Join
    | Leave
    | Publish
    | Send
    | Show
    | Look
    | Query
    | Confirm
    | Renew
    | Ask
    | Serve
    | Answer
    | Several
)
