"""PURE: who may come in (W13 to W15), by address and for the node as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from gateway.core.limits import Bucket
from shared.errors import NodeFull, Overloaded, TooManyConnections, TooManyHandshakes
from shared.recent import Recent

Network = IPv4Network | IPv6Network

ONE_SITE = 64
"""Bits of an IPv6 address that tell one customer of a provider from another."""

SPARE_SOCKETS = 1000
"""Beside the WebSockets of a full node: of those who ask for one, and of the API."""

REMEMBERED_ADDRESSES = 100_000
"""Whose rate is known; an attacker with more of them is stopped by the rate of the node."""


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return where a request comes from: its peer, or whom trusted proxies name as theirs.

    ``forwarded_for`` are the values of all ``X-Forwarded-For`` headers. Each proxy appends whom it
    was asked by, so what stands left of the last address that is no trusted proxy anyone can write.
    """
    address = peer
    hops = [hop.strip() for line in forwarded_for for hop in line.split(",")]
    while hops and is_trusted(address, trusted):
        try:
            address = str(ip_address(hops.pop()))
        except ValueError:
            break
    return address


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether an address is that of a trusted proxy."""
    numeric = _numeric(address) if trusted else None
    return numeric is not None and any(numeric in network for network in trusted)


def site(address: str) -> str:
    """Return what of an address tells one client from another; whoever has one IPv6 has many."""
    numeric = _numeric(address)
    if isinstance(numeric, IPv6Address):
        return str(IPv6Network((numeric, ONE_SITE), strict=False))
    return str(numeric)


def _numeric(address: str) -> IPv4Address | IPv6Address | None:
    try:
        numeric = ip_address(address)
    except ValueError:  # a Unix socket has none
        return None
    mapped = numeric.ipv4_mapped if isinstance(numeric, IPv6Address) else None
    return mapped or numeric


@dataclass(frozen=True)
class Caps:
    """What the node lets in; 0 for no limit."""

    connections: int = 0
    """WebSockets of the node."""

    accepts: float = 0
    """WebSockets a second of the node."""

    address_connections: int = 0
    """Sockets of one address."""

    handshakes: float = 0
    """Requests for a WebSocket of one address a second."""


class Admission:
    """Counts sockets by address, and says no before any work is spent on a request."""

    def __init__(self, caps: Caps, trusted: Sequence[Network], now: float) -> None:
        self._caps = caps
        self.trusted = trusted
        self._sockets = 0
        self._by_address: dict[str, int] = {}
        self._handshakes: Recent[str, Bucket] = Recent(REMEMBERED_ADDRESSES)
        self._accepts = Bucket(caps.accepts, now) if caps.accepts else None

    def connect(self, peer: str) -> None:
        """Let a socket in.

        Raises:
            NodeFull: there are too many, with those that have not said what they want.
            TooManyConnections: its address has enough.
        """
        most = self._caps.connections
        if most and self._sockets >= most + SPARE_SOCKETS:
            raise NodeFull
        if not is_trusted(peer, self.trusted):
            self.enter(peer)
        self._sockets += 1

    def disconnect(self, peer: str) -> None:
        """Let go of a socket that was let in."""
        self._sockets -= 1
        if not is_trusted(peer, self.trusted):
            self.leave(peer)

    def enter(self, address: str) -> None:
        """Count a socket to an address.

        Raises:
            TooManyConnections: it has enough.
        """
        origin, most = site(address), self._caps.address_connections
        held = self._by_address.get(origin, 0)
        if most and held >= most:
            raise TooManyConnections("Too many connections from this address", limit=most)
        self._by_address[origin] = held + 1

    def leave(self, address: str) -> None:
        """Count a socket to an address no more."""
        origin = site(address)
        self._by_address[origin] -= 1
        if not self._by_address[origin]:
            del self._by_address[origin]

    def ask(self, address: str, connections: int, now: float) -> None:
        """Check that one more WebSocket may be asked for, while there are ``connections``.

        Raises:
            NodeFull: there are too many.
            TooManyHandshakes: from this address, for now.
            Overloaded: on this node, for now.
        """
        if self._caps.connections and connections >= self._caps.connections:
            raise NodeFull
        if rate := self._caps.handshakes:
            origin = site(address)
            bucket = self._handshakes.get(origin) or Bucket(rate, now)
            self._handshakes.put(origin, bucket)
            if wait := bucket.wait(1, now):
                raise TooManyHandshakes(retry_after_ms=int(wait * 1000) + 1)
            bucket.take(1, now)
        if self._accepts is not None:
            if wait := self._accepts.wait(1, now):
                raise Overloaded(retry_after_ms=int(wait * 1000) + 1)
            self._accepts.take(1, now)
