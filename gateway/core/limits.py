"""PURE: how much clients may ask (W14), as token buckets. Times are monotonic, in seconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from shared.errors import Flooding, RateLimited
from shared.messages import client

BURST_SECONDS = 2.0
"""What may be taken at once, as seconds of the rate."""

ANSWER_COST = 0.1
"""Of what answers the server: it has asked for it."""

FLOOD_FACTOR, FLOOD_SECONDS = 20.0, 5
"""Whoever asks for so many times the rate for so long is cut off."""

TELL_SECONDS = 0.5
"""How often gateways tell each other what their users ask for."""

UNCOUNTED_CONNECTIONS = 20
"""Assumed of a user whose connections are not limited."""

UNTOLD_SHARE = 0.2
"""Of its rate that a user may take in addition, by asking too little for a word everywhere."""

FRESH_SECONDS = 3 * TELL_SECONDS
SWEEP_ROUNDS = 60


class Bucket:
    """Fills at ``rate`` a second up to ``burst``; who takes more than is there must wait."""

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, rate: float, now: float, *, burst: float = 0.0) -> None:
        self.rate = rate
        self.burst = self._level = max(burst, rate * BURST_SECONDS)
        self._at = now

    def level(self, now: float) -> float:
        """Return how much is there."""
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        return self._level

    def set_rate(self, rate: float, now: float) -> None:
        """Go on with another rate, and its burst."""
        level = self.level(now)
        self.rate, self.burst = rate, rate * BURST_SECONDS
        self._level = min(level, self.burst)

    def wait(self, cost: float, now: float) -> float:
        """Return in how many seconds so much may be taken; 0 for now.

        What is more than the burst may be taken when the bucket is full, nothing at any time.
        """
        return max(0.0, min(cost, self.burst) - self.level(now)) / self.rate if cost else 0.0

    def take(self, cost: float, now: float) -> None:
        """Take so much, after ``wait`` has said that it may be; the debt is one burst at most."""
        self._level = max(self.level(now) - cost, -self.burst)


class Flood:
    """Whether somebody goes on to ask far more than they may."""

    __slots__ = ("_asked", "_most", "_second", "_seconds")

    def __init__(self, rate: float) -> None:
        self._most = rate * FLOOD_FACTOR
        self._second = 0
        self._asked = 0.0
        self._seconds = 0
        """Those just before this one in which it was too much."""

    def note(self, cost: float, now: float) -> bool:
        """Note what is asked; return whether it has been too much for too long."""
        if (second := int(now)) != self._second:
            went_on = second == self._second + 1 and self._asked > self._most
            self._seconds = self._seconds + 1 if went_on else 0
            self._second, self._asked = second, 0.0
        self._asked += cost
        return self._seconds >= FLOOD_SECONDS


def fair_share(rate: float, others: Iterable[float]) -> float:
    """Return how much of a rate one may take when others ask for so much of it.

    Whoever asks for less than an even share gets it; the rest is shared evenly by those who do not.
    """
    left, among = rate, sorted(others)
    for number, asked in enumerate(among):
        share = left / (len(among) + 1 - number)
        if asked >= share:
            return share
        left -= asked
    return left


class UserShares:
    """What users may ask of the whole cluster: each gateway gives its share of a user's rate.

    Gateways tell each other what is asked of them; what is too little to be told cannot add up to
    much, for a user's connections are limited.
    """

    def __init__(self, rate: float, connections: int) -> None:
        self._rate = rate
        even = rate * TELL_SECONDS / (connections or UNCOUNTED_CONNECTIONS)
        self._least_told = UNTOLD_SHARE * even
        self._buckets: dict[str, Bucket] = {}
        self._asked: dict[str, float] = {}
        """Since it was told."""

        self._elsewhere: dict[str, dict[str, tuple[float, float]]] = {}
        """By user and gateway: what is asked there a second, and when that was told."""

        self._rounds = 0

    def wait(self, user_id: str, cost: float, now: float) -> float:
        """Ask for so much for a user; return in how many seconds it may be taken, 0 for now."""
        if (bucket := self._buckets.get(user_id)) is None:
            bucket = self._buckets[user_id] = Bucket(self._rate, now)
        self._asked[user_id] = self._asked.get(user_id, 0.0) + cost
        return bucket.wait(cost, now)

    def take(self, user_id: str, cost: float, now: float) -> None:
        """Take so much, after ``wait`` has said that it may be."""
        self._buckets[user_id].take(cost, now)

    def tell(self, now: float) -> dict[str, int]:
        """Return what users have asked for here since the last time, if it is worth a word.

        The shares of those who ask are made anew.
        """
        asked, self._asked = self._asked, {}
        for user_id in asked:
            self._buckets[user_id].set_rate(self._share(user_id, now), now)
        self._rounds += 1
        if self._rounds % SWEEP_ROUNDS == 0:
            self._sweep(now)
        return {user_id: ceil(much) for user_id, much in asked.items() if much > self._least_told}

    def told(self, gateway: str, asked: Mapping[str, int], now: float) -> None:
        """Learn what users have asked for at another gateway."""
        for user_id, much in asked.items():
            if user_id in self._buckets:
                there = self._elsewhere.setdefault(user_id, {})
                there[gateway] = much / TELL_SECONDS, now

    def _share(self, user_id: str, now: float) -> float:
        elsewhere = self._elsewhere.pop(user_id, {})
        fresh = {one: told for one, told in elsewhere.items() if now - told[1] <= FRESH_SECONDS}
        if fresh:
            self._elsewhere[user_id] = fresh
        return fair_share(self._rate, (asked for asked, _ in fresh.values()))

    def _sweep(self, now: float) -> None:
        """Forget users who have asked for nothing for a while."""
        idle = [one for one, bucket in self._buckets.items() if bucket.level(now) >= bucket.burst]
        for user_id in idle:
            del self._buckets[user_id]
            self._elsewhere.pop(user_id, None)


READ_AT_ONCE = 8
"""Messages of one client that are read in a row; then others have their turn."""

READ_BYTES = 4096
"""A longer one counts as several of them."""

USUAL_RATE = 50.0


@dataclass(frozen=True)
class Limits:
    """What holds for every connection of the node; 0 for no limit."""

    messages: float = 0
    """A second."""

    size: float = 0
    """Bytes a second."""

    largest: int = 0
    """Bytes of the largest message."""

    users: UserShares | None = None

    @property
    def pause(self) -> float:
        """For how many seconds a socket is not read when most of what was read was refused.

        So nobody can have us refuse without end, but a flood can still be told from less.
        """
        return READ_AT_ONCE / (2 * FLOOD_FACTOR * (self.messages or USUAL_RATE))


class Allowance:
    """What one connection may ask."""

    __slots__ = ("_flood", "_messages", "_size", "_user_id", "_users", "refused")

    def __init__(self, limits: Limits, user_id: str, now: float) -> None:
        self._messages = Bucket(limits.messages, now) if limits.messages else None
        self._size = Bucket(limits.size, now, burst=limits.largest) if limits.size else None
        self._flood = Flood(limits.messages) if limits.messages else None
        self._users = limits.users
        self._user_id = user_id
        self.refused = 0

    def take(self, cost: float, size: int, now: float) -> None:
        """Take for a message that costs so much and has ``size`` bytes; or take nothing.

        Raises:
            RateLimited: it is too much for now.
            Flooding: it has been far too much for too long.
        """
        if self._flood is not None and self._flood.note(cost, now):
            raise Flooding
        self._require("messages of this connection", self._wait(self._messages, cost, now))
        self._require("bytes of this connection", self._wait(self._size, size, now))
        if self._users is not None:
            wait = self._users.wait(self._user_id, cost, now)
            self._require("messages of this user", wait)
            self._users.take(self._user_id, cost, now)
        if self._messages is not None:
            self._messages.take(cost, now)
        if self._size is not None:
            self._size.take(size, now)

    def _wait(self, bucket: Bucket | None, cost: float, now: float) -> float:
        return 0.0 if bucket is None else bucket.wait(cost, now)

    def _require(self, what: str, wait: float) -> None:
        if wait:
            self.refused += 1
            raise RateLimited(f"Too many {what}", retry_after_ms=int(wait * 1000) + 1)


def cost(body: client.Body) -> float:
    """Return what a message takes of a rate of messages: one for each thing that it asks."""
    match body:
        case client.Subscribe(topics=named) | client.Unsubscribe(topics=named):
            return max(1, len(named))
        case client.Register(types=named) | client.Unregister(types=named):
            return max(1, len(named))
        case client.Ack() | client.Pong() | client.Reply():
            return ANSWER_COST
        case client.Batch():
            return 0  # its operations have their own
        case _:
            return 1
