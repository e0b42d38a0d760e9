"""An owner that was rebuilt from the log behaves like the one that never died."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from presence_service.commands import PresenceOwner
from presence_service.core.directory import GRACE_MS
from presence_service.core.holds import EVERYBODY
from presence_service.core.mailbox import Limits
from router.commands import RouterOwner
from router.core.namespaces import Namespaces
from router.core.retention import Retention
from shared.messages.deliveries import DirectDelivery
from shared.messages.envelopes import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionsReport,
    DirectMessageReturned,
    DirectMessageUndelivered,
    InterestGained,
    InterestLost,
    InterestReport,
    MailboxAsked,
    Opened,
    PresenceSet,
    ReplayAsked,
    RouteBroadcast,
    RouteDirectMessage,
    Sender,
    Settled,
)
from shared.ownership.leases import Leases
from tests.unit.builders import Stage, life

NODES = ("n1", "n2")
USERS = ("bob", "eve", "zoe")
TOPICS = ("a", "b", "off.a")
NAMESPACES = Namespaces({"off.#": Retention(0, 0), "#": Retention(messages=3, seconds=300)})


class Play(Stage):
    """An owner, two nodes, and a clock that each step moves on."""

    def __init__(self, make: Callable[[Leases], Any], *, after: "Play | None" = None) -> None:
        self.make = make
        self.leases = Leases()
        self.boots: dict[str, int] = dict(after.boots) if after else dict.fromkeys(NODES, 1)
        self.now_ms: int = after.now_ms if after else 0
        self.steps: int = after.steps if after else 0
        self.said: list[tuple[Sender, Any, int]] = list(after.said) if after else []
        super().__init__(make(self.leases), after=after, now_ms=self.now_ms)
        for sender in self.owner.lives.values():
            self.leases.renewed(sender)

    def successor(self) -> "Play":
        successor = Play(self.make, after=self)
        successor.fill(self.now_ms)
        return successor

    def life(self, node: str) -> Sender:
        return life(node, f"b{self.boots[node]}")

    def moves_on(self, by_ms: int = 1000) -> str:
        """Let time pass; return an id for what happens now."""
        self.now_ms += by_ms
        self.steps += 1
        return f"m{self.steps:04}"

    def tells(self, node: str, envelope: object, number: int | None = None) -> None:
        number = self.send(self.life(node), envelope, number=number, now_ms=self.now_ms)
        self.said.append((self.life(node), envelope, number))

    def begins(self, node: str) -> None:
        """Have a node begin a new life."""
        self.boots[node] += 1
        for gone in self.leases.renewed(self.life(node)).ended:
            self.owner.node_ended(gone, self.now_ms, clean=True)
        self.publish()

    def dies(self, node: str) -> None:
        for gone in self.leases.ended(self.life(node), clean=False).ended:
            self.owner.node_ended(gone, self.now_ms, clean=False)
        self.publish()


# ---- what may happen -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Says:
    node: str
    topic: str
    live_only: bool
    key: str


@dataclass(frozen=True)
class SaysAgain:
    back: int


@dataclass(frozen=True)
class Wants:
    node: str
    topic: str
    gained: bool


@dataclass(frozen=True)
class AsksAgain:
    node: str
    after_serial: int


@dataclass(frozen=True)
class Reboots:
    node: str


@dataclass(frozen=True)
class Dies:
    node: str


@dataclass(frozen=True)
class Checkpoint:
    pass


@dataclass(frozen=True)
class Opens:
    node: str
    user: str
    device: int

    @property
    def connection_id(self) -> str:
        return f"{self.user} {self.node} {self.device}"


@dataclass(frozen=True)
class Closes(Opens):
    pass


@dataclass(frozen=True)
class AsksMailbox(Opens):
    pass


@dataclass(frozen=True)
class Writes:
    user: str
    key: str


@dataclass(frozen=True)
class Returns:
    back: int
    how: str


@dataclass(frozen=True)
class Shows:
    user: str
    status: str


@dataclass(frozen=True)
class Ticks:
    by_ms: int


@dataclass(frozen=True)
class Fills:
    """A node's queue is full from now on, or has room again."""

    node: str
    full: bool


@dataclass(frozen=True)
class Settles:
    """A node has handed over or handed back what it was given for a user."""

    node: str
    user: str


def some(kind: type, **fields: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


NODE, USER, TOPIC = map(st.sampled_from, (NODES, USERS, TOPICS))
KEY = st.sampled_from(["", "k1", "k2"])
BACK = st.integers(1, 5)
PLACE = {"node": NODE, "user": USER, "device": st.integers(0, 1)}
ROUTER_STEP = (
    some(Says, node=NODE, topic=TOPIC, live_only=st.booleans(), key=KEY)
    | some(SaysAgain, back=BACK)
    | some(Wants, node=NODE, topic=TOPIC, gained=st.booleans())
    | some(AsksAgain, node=NODE, after_serial=st.integers(0, 9))
    | some(Reboots, node=NODE)
    | some(Dies, node=NODE)
)
PRESENCE_STEP = (
    some(Opens, **PLACE)
    | some(Closes, **PLACE)
    | some(AsksMailbox, **PLACE)
    | some(Writes, user=USER, key=KEY)
    | some(Shows, user=USER, status=st.sampled_from(["online", "away"]))
    | some(Ticks, by_ms=st.sampled_from([500, GRACE_MS]))
    | some(Fills, node=NODE, full=st.booleans())
    | some(Settles, node=NODE, user=USER)
    | some(Reboots, node=NODE)
    | some(Dies, node=NODE)
)
RETURNED = some(Returns, back=BACK, how=st.sampled_from(["returned", "undelivered"]))
UNCONFIRMED = some(Returns, back=BACK, how=st.just("unconfirmed"))


# ---- the router's --------------------------------------------------------------------------------


def make_router(leases: Leases) -> RouterOwner:
    return RouterOwner(leases, NAMESPACES)


def router_step(play: Play, step: object) -> None:
    message_id = play.moves_on()
    match step:
        case Says():
            command = RouteBroadcast(
                message_id,
                step.topic,
                message_id.encode(),
                from_user="alice",
                ttl=0 if step.live_only else None,
                idempotency_key=step.key,
            )
            play.tells(step.node, command)
        case SaysAgain():
            for sender, command, number in play.said[-step.back :][:1]:
                if isinstance(command, RouteBroadcast):
                    play.send(sender, command, number=number, now_ms=play.now_ms)
        case Wants():
            kind = InterestGained if step.gained else InterestLost
            play.tells(step.node, kind([step.topic]))
        case AsksAgain():
            play.tells(step.node, ReplayAsked(play.steps, step.after_serial))
        case Reboots():
            wanted = wanted_by(play, step.node)
            play.begins(step.node)
            play.tells(step.node, InterestReport(wanted, first=True, last=True))
        case Dies():
            play.dies(step.node)
        case Checkpoint():
            play.checkpoint()


def wanted_by(play: Play, node: str) -> list[str]:
    return [topic for topic in TOPICS if node in play.owner.table.wanted_by(topic)]


def pages(play: Play) -> list[Any]:
    """Return all that history holds of every topic."""
    return [play.owner.history.page(one, limit=99, now_ms=play.now_ms) for one in TOPICS]


def common(play: Play) -> tuple[Any, ...]:
    """Return what both services' owners know."""
    return list(play.owner.keys), play.owner.lives, play.leases.alive


def numbers_known(play: Play) -> dict[str, int]:
    """Return the highest numbers; of what was not kept only a checkpoint tells."""
    return dict(play.owner._last_numbers)


@settings(max_examples=150)
@given(st.lists(ROUTER_STEP | some(Checkpoint), max_size=40), st.lists(ROUTER_STEP, max_size=15))
def test_a_rebuilt_router_owner_behaves_like_the_one_that_never_died(
    steps: list[object], following: list[object]
) -> None:
    live = Play(make_router)
    for step in [Reboots("n1"), Reboots("n2"), *steps]:
        router_step(live, step)

    rebuilt = live.successor()
    assert common(rebuilt) == common(live)
    assert (rebuilt.owner.serial, pages(rebuilt)) == (live.owner.serial, pages(live))
    rebuilt.checkpoint()
    again = rebuilt.successor()
    assert numbers_known(again) == numbers_known(rebuilt)
    assert pages(again) == pages(live)

    reports = {node: wanted_by(live, node) for node in live.owner.lives}
    for play in (live, rebuilt):
        for node, wanted in reports.items():
            play.tells(node, InterestReport(wanted, first=True, last=True))
        play.clear()
        play.log.clear()
        for step in following:
            router_step(play, step)
    assert rebuilt.delivered == live.delivered
    assert rebuilt.answered == live.answered
    assert rebuilt.log == live.log
    assert pages(rebuilt) == pages(live)


# ---- the presence service's ----------------------------------------------------------------------


def make_presence(leases: Leases) -> PresenceOwner:
    return PresenceOwner(leases, Limits(messages=3))


def presence_step(play: Play, step: object) -> None:
    match step:
        case Ticks():
            play.moves_on(step.by_ms)
            play.owner.tick(play.now_ms)
            play.publish()
        case Fills():
            queue = {f"direct.{step.node}.{step.node}-p1"}
            play.full = play.full | queue if step.full else play.full - queue
        case Reboots():
            connections = connections_at(play, step.node)
            play.begins(step.node)
            play.tells(step.node, ConnectionsReport(connections, first=True, last=True))
        case Dies():
            play.dies(step.node)
        case Checkpoint():
            play.checkpoint()
        case _:
            tell(play, step)


def tell(play: Play, step: object) -> None:
    """Have a node say what has happened there."""
    message_id = play.moves_on()
    match step:
        case AsksMailbox():
            play.tells(step.node, MailboxAsked(step.user, step.connection_id))
        case Closes():
            play.tells(step.node, ConnectionClosed(step.user, step.connection_id))
        case Opens():
            play.tells(step.node, ConnectionOpened(Opened(step.user, step.connection_id)))
        case Writes():
            command = RouteDirectMessage(
                message_id, step.user, "alice", message_id.encode(), idempotency_key=step.key
            )
            play.tells("n1", command)
        case Returns():
            messages = [one for one in play.delivered if isinstance(one[1], DirectDelivery)]
            for to, delivery in messages[-step.back :][:1]:
                play.tells(to.split(".")[1], handed_back(delivery, step.how))
        case Settles():
            play.tells(step.node, Settled(step.user, step.node))
        case Shows():
            play.tells("n1", PresenceSet(step.user, step.status, b'{"mood":1}'))


def handed_back(delivery: DirectDelivery, how: str) -> object:
    if how == "undelivered":
        return DirectMessageUndelivered(delivery)
    return DirectMessageReturned(delivery, unconfirmed=how == "unconfirmed")


def connections_at(play: Play, node: str) -> list[Opened]:
    directory = play.owner.directory
    return [
        Opened(user, one) for user in USERS for one in sorted(directory.connections_at(user, node))
    ]


def waiting(play: Play) -> dict[str, list[tuple[str, bytes, int]]]:
    """Return what waits for every user, in order."""
    found: dict[str, list[tuple[str, bytes, int]]] = {}
    for one in play.owner.mailboxes:
        entry = (one.message_id, one.payload, one.sent_at_ms)
        found.setdefault(one.target_user, []).append(entry)
    return found


def people(play: Play) -> dict[str, tuple[str, int, bytes]]:
    """Return how everybody is to be seen."""
    return {
        user_id: (one.status, one.last_seen_ms, one.metadata)
        for user_id, one in play.owner.directory.people.items()
    }


def come_to_rest(play: Play) -> None:
    """Let everything be handed over, and everybody go whose grace has begun."""
    play.full = set()
    settle_everything(play)
    for node in play.owner.lives:
        for one in connections_at(play, node):
            play.tells(node, MailboxAsked(one.user_id, one.connection_id))
    for _ in range(2):
        presence_step(play, Ticks(GRACE_MS))
    settle_everything(play)


def settle_everything(play: Play) -> None:
    """Have every node say that it has nothing left of what it was given."""
    for node in play.owner.lives:
        for user in (EVERYBODY, *USERS):
            play.tells(node, Settled(user, node))


def effects(play: Play) -> tuple[list[Any], ...]:
    """Return what was published; in which order users go or are tried again does not matter."""
    announced = sorted((one.topic, one.payload) for one in play.announced)
    delivered = sorted(play.delivered, key=lambda one: (one[0], user_of(one[1])))
    return delivered, play.answered, announced, sorted(play.log)


def user_of(delivery: Any) -> str:
    """Return whom a delivery, or a question about deliveries, is about."""
    return str(delivery.target_user if isinstance(delivery, DirectDelivery) else delivery.user_id)


@settings(max_examples=150)
@given(
    st.lists(PRESENCE_STEP | RETURNED | UNCONFIRMED | some(Checkpoint), max_size=40),
    st.lists(PRESENCE_STEP | RETURNED, max_size=15),
)
def test_a_rebuilt_presence_owner_behaves_like_the_one_that_never_died(
    steps: list[object], following: list[object]
) -> None:
    live = Play(make_presence)
    for step in [Reboots("n1"), Reboots("n2"), *steps]:
        presence_step(live, step)

    for rest in (False, True):
        if rest:
            come_to_rest(live)
        rebuilt = live.successor()
        assert common(rebuilt) == common(live)
        assert waiting(rebuilt) == waiting(live)
        assert people(rebuilt) == people(live)

    reports = {node: connections_at(live, node) for node in live.owner.lives}
    for play in (live, rebuilt):
        play.clear()
        for node, connections in reports.items():
            play.tells(node, ConnectionsReport(connections, first=True, last=True))
        settle_everything(play)
        play.clear()
        play.log.clear()
        for step in following:
            presence_step(play, step)
    assert effects(rebuilt) == effects(live)
    assert waiting(rebuilt) == waiting(live)
    assert people(rebuilt) == people(live)
