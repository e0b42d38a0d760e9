"""Every endpoint of the API, with the types of what goes in and out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from gateway.api import structs
from gateway.api.backend import BackEnd, Call

PREFIX = "/api/v1"


@dataclass(frozen=True)
class Endpoint:
    """One method on one path; the docstring of what performs it says what it does."""

    method: str
    path: str
    perform: Callable[[BackEnd, Call[Any, Any]], Awaitable[Struct]]
    answer: type[Struct]
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    errors: tuple[int, ...] = ()
    """Beside those that every endpoint may answer with."""

    keyed: bool = False
    """Whether ``Idempotency-Key`` is honoured; all the others may be repeated anyway."""


ENDPOINTS = (
    Endpoint(
        "POST",
        "/broadcasts",
        BackEnd.broadcast,
        structs.BroadcastResult,
        body=structs.BroadcastRequest,
        keyed=True,
    ),
    Endpoint(
        "POST",
        "/direct-messages",
        BackEnd.direct_message,
        structs.DirectMessageResult,
        body=structs.DirectMessageRequest,
        errors=(404,),
        keyed=True,
    ),
    Endpoint(
        "POST",
        "/notifications",
        BackEnd.notify,
        structs.NotificationResult,
        body=structs.NotificationRequest,
        keyed=True,
    ),
    Endpoint(
        "GET", "/presence", BackEnd.presence, structs.PeoplePresence, query=structs.PresenceQuery
    ),
    Endpoint("GET", "/users/{user}/presence", BackEnd.user_presence, structs.UserPresence),
    Endpoint("GET", "/users/{user}/connections", BackEnd.user_connections, structs.Connections),
    Endpoint(
        "POST",
        "/users/{user}/disconnect",
        BackEnd.disconnect,
        structs.DisconnectResult,
        body=structs.DisconnectRequest,
    ),
    Endpoint("DELETE", "/users/{user}", BackEnd.erase, structs.EraseResult),
    Endpoint("GET", "/topics/{topic}/subscribers", BackEnd.subscribers, structs.Subscribers),
    Endpoint(
        "GET",
        "/topics/{topic}/history",
        BackEnd.history,
        structs.HistoryPage,
        query=structs.HistoryQuery,
    ),
    Endpoint("GET", "/cluster", BackEnd.cluster, structs.ClusterState),
)
