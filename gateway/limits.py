"""What the settings allow: of a connection, at the door, and as the Welcome tells."""

import time
from ipaddress import ip_network

from gateway.core.admission import Admission, Caps
from gateway.core.limits import Limits, UserShares
from gateway.core.session import MAX_TOPICS
from gateway.performer import WINDOW
from shared.messages.checks import MAX_DEPTH
from shared.settings import Settings

MAX_TEXT_BYTES = 65_536


def largest_message(settings: Settings) -> int:
    """Return how many bytes a message of a client may have, text or binary."""
    return max(MAX_TEXT_BYTES, settings.max_binary_bytes)


def make_limits(settings: Settings) -> Limits:
    """Return what a connection and a user may ask."""
    per_user = settings.max_user_messages_per_second
    return Limits(
        settings.max_messages_per_second,
        settings.max_bytes_per_second,
        largest_message(settings),
        UserShares(per_user, settings.max_user_connections) if per_user else None,
    )


def make_admission(settings: Settings) -> Admission:
    """Return who decides who may come in."""
    caps = Caps(
        settings.max_connections,
        settings.max_accepts_per_second,
        settings.max_address_connections,
        settings.max_handshakes_per_second,
    )
    proxies = [ip_network(network) for network in settings.trusted_proxies]
    return Admission(caps, proxies, time.monotonic())


def announced(settings: Settings) -> dict[str, int]:
    """Return the ``limits`` of a Welcome; what is not limited is not in it (S7)."""
    limits = {
        "message_bytes": MAX_TEXT_BYTES,
        "binary_bytes": settings.max_binary_bytes,
        "subscriptions": settings.max_subscriptions,
        "topics_per_request": MAX_TOPICS,
        "depth": MAX_DEPTH,
        "pending_commands": WINDOW,
        "messages_per_second": settings.max_messages_per_second,
        "bytes_per_second": settings.max_bytes_per_second,
        "user_messages_per_second": settings.max_user_messages_per_second,
        "user_connections": settings.max_user_connections,
        "address_connections": settings.max_address_connections,
        "handshakes_per_second": settings.max_handshakes_per_second,
        "node_connections": settings.max_connections,
    }
    return {name: limit for name, limit in limits.items() if limit}
