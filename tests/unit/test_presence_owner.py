"""Stories of one partition of the users: presence_service/commands.py."""

import json
from typing import Any

import pytest

from presence_service.commands import PresenceOwner
from presence_service.core.directory import GRACE_MS
from presence_service.core.mailbox import Limits
from presence_service.core.sightings import SNAPSHOT_LIMIT
from shared.messages import codec
from shared.messages.answers import Located, Stored
from shared.messages.deliveries import DirectDelivery, SettleAsked
from shared.messages.envelopes import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionsReport,
    DirectMessageReturned,
    DirectMessageUndelivered,
    MailboxAsked,
    Opened,
    PresenceAsked,
    PresenceSet,
    RouteDirectMessage,
    Sender,
    Settled,
)
from shared.messages.records import Drained, Kept
from shared.ownership.leases import Leases
from tests.unit.builders import Stage, direct_delivery, life

N1, N2 = life("n1"), life("n2")


class Story(Stage):
    """A presence partition with two living nodes; alice writes from n1, mostly to bob."""

    def __init__(
        self,
        *,
        after: "Story | None" = None,
        reported: bool = True,
        now_ms: int = 0,
        max_connections: int = 0,
        **limits: int,
    ) -> None:
        self.leases = Leases()
        self.leases.renewed(N1)
        self.leases.renewed(N2)
        owner = PresenceOwner(self.leases, Limits(**limits), max_connections)
        super().__init__(owner, after=after, now_ms=now_ms)
        for sender in (N1, N2) if reported else ():
            self.report(sender)
        self._ids = after._ids if after else 0

    def report(self, sender: Sender, *opened: Opened, now_ms: int = 0) -> None:
        report = ConnectionsReport(list(opened), first=True, last=True)
        self.send(sender, report, now_ms=now_ms)

    def opens(
        self, sender: Sender, connection_id: str, user_id: str = "bob", now_ms: int = 0
    ) -> None:
        self.send(sender, ConnectionOpened(Opened(user_id, connection_id)), now_ms=now_ms)

    def closes(self, sender: Sender, connection_id: str, now_ms: int = 0) -> None:
        self.send(sender, ConnectionClosed("bob", connection_id), now_ms=now_ms)

    def writes(self, target: str = "bob", *, now_ms: int = 0, **fields: Any) -> str:
        """Have alice write; return the message's id."""
        self._ids += 1
        message_id = f"dm_{self._ids}"
        command = RouteDirectMessage(message_id, target, "alice", b'"hi"', **fields)
        self.send(N1, command, now_ms=now_ms)
        return message_id

    def given(self, sender: Sender, at: int = 0) -> DirectDelivery:
        """Return what a node was given first, from the ``at``th message on."""
        found: DirectDelivery = next(
            one for to, one in self.messages[at:] if f".{sender.node_id}." in to
        )
        return found

    def settles(self, sender: Sender) -> None:
        """Have a node say that it has settled what it was given for bob, if it was asked."""
        asks = [one for one in self.delivered if one[1] in self.asks(sender)]
        for one in asks:
            self.delivered.remove(one)
            self.send(sender, Settled(one[1].user_id, sender.node_id))

    def asks(self, sender: Sender) -> list[SettleAsked]:
        """Return what a node was asked about what it was given."""
        to = f"direct.{sender.node_id}.{sender.process}"
        return [one for at, one in self.delivered if at == to and isinstance(one, SettleAsked)]

    def returns(
        self, sender: Sender, at: int = 0, now_ms: int = 0, *, unconfirmed: bool = False
    ) -> None:
        """Have a node hand back what was delivered, as it was delivered."""
        returned = DirectMessageReturned(self.given(sender, at), unconfirmed=unconfirmed)
        self.send(sender, returned, now_ms=now_ms)

    def undelivered(self, sender: Sender, at: int = 0, now_ms: int = 0) -> None:
        """Have what a node was given come back from where it waited in vain."""
        found = DirectMessageUndelivered(self.given(sender, at))
        self.send(sender, found, number=0, now_ms=now_ms)

    def ends(self, sender: Sender, now_ms: int = 0, *, clean: bool = False) -> None:
        self.leases.ended(sender, clean=clean)
        self.owner.node_ended(sender, now_ms, clean=clean)
        self.publish()

    def ticks(self, now_ms: int) -> None:
        self.owner.tick(now_ms)
        self.publish()

    @property
    def handed(self) -> list[tuple[str, str]]:
        """Whom each message was handed to: (address, message id)."""
        return [(to, delivery.message_id) for to, delivery in self.messages]

    @property
    def messages(self) -> list[tuple[str, DirectDelivery]]:
        """What was delivered, but for questions."""
        return [(to, one) for to, one in self.delivered if isinstance(one, DirectDelivery)]

    @property
    def answers(self) -> list[Any]:
        return [answer for _, answer in self.answered]

    @property
    def waiting(self) -> list[str]:
        """The ids of the messages in all mailboxes."""
        return [one.message_id for one in self.owner.mailboxes]

    @property
    def news(self) -> list[tuple[str, str]]:
        """What was said of whom: (user, status)."""
        said = [json.loads(one.payload) for one in self.announced]
        return [(one["user_id"], one["status"]) for one in said]


@pytest.fixture
def story() -> Story:
    return Story()


# ---- direct messages -----------------------------------------------------------------------------


def test_a_message_goes_once_to_each_node_of_its_user(story):
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.opens(N2, "c3")

    story.writes(metadata=b'"x":1', now_ms=7)

    assert story.handed == [("direct.n1.n1-p1", "dm_1"), ("direct.n2.n2-p1", "dm_1")]
    delivery = story.delivered[0][1]
    assert (delivery.payload, delivery.metadata, delivery.sent_at_ms) == (b'"hi"', b'"x":1', 7)
    assert (delivery.from_user, delivery.target_user, delivery.queued) == ("alice", "bob", False)
    assert story.answered == [("answers.n1", Located("dm_1", "dm_1", ["n1", "n2"]))]


@pytest.mark.parametrize("target", ["bob", "nobody"])
def test_a_message_to_who_is_offline_or_unknown_is_kept_and_its_sender_told(story, target):
    story.writes(target)

    assert story.delivered == []
    assert story.answered == [("answers.n1", Stored("dm_1", "dm_1", queued=True))]


def test_a_message_that_cannot_be_kept_is_answered_so():
    story = Story(messages=1)
    story.writes()
    story.writes()
    story.writes("eve", ttl=0)

    assert [one.queued for one in story.answers] == [True, False, False]


def test_stamps_never_go_back_though_the_clock_does(story):
    story.opens(N1, "c1")
    for now_ms in (10, 7, 12):
        story.writes(now_ms=now_ms)

    assert [delivery.sent_at_ms for _, delivery in story.delivered] == [10, 10, 12]


def test_a_repeated_message_is_answered_again(story):
    story.opens(N1, "c1")
    command = RouteDirectMessage("dm_9", "bob", "alice", b"1")
    number = story.send(N1, command)
    story.send(N1, command, number=number)

    assert story.handed == [("direct.n1.n1-p1", "dm_9")] * 2
    assert story.answers == [Located("dm_9", "dm_9", ["n1"])] * 2


def test_a_repeated_message_to_who_is_offline_is_kept_once(story):
    command = RouteDirectMessage("dm_9", "bob", "alice", b"1")
    number = story.send(N1, command)
    story.send(N1, command, number=number)

    assert len(story.owner.mailboxes) == 1
    assert story.answers == [Stored("dm_9", "dm_9", queued=True)] * 2


def test_an_idempotency_key_keeps_the_first_id_so_that_receivers_know_the_repeat(story):
    story.opens(N1, "c1")
    story.writes(idempotency_key="k")
    story.writes(idempotency_key="k")

    assert story.handed == [("direct.n1.n1-p1", "dm_1")] * 2
    assert story.answers[1] == Located("dm_2", "dm_1", ["n1"])


# ---- mailboxes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["opened", "reported"])
def test_a_mailbox_is_emptied_when_a_connection_appears_for_whatever_reason(story, how):
    story.writes(now_ms=3)
    story.writes(now_ms=4)
    story.clear()

    if how == "opened":
        story.opens(N2, "c1", now_ms=9)
    else:
        story.report(N2, Opened("bob", "c1"), now_ms=9)

    assert story.handed == [("direct.n2.n2-p1", "dm_1"), ("direct.n2.n2-p1", "dm_2")]
    first = story.delivered[0][1]
    assert (first.queued, first.connection_id, first.sent_at_ms) == (True, "c1", 3)
    assert story.answered == []  # its sender was answered long ago
    assert len(story.owner.mailboxes) == 0


def test_a_second_device_gets_nothing_from_an_empty_mailbox(story):
    story.writes()
    story.opens(N1, "c1")
    story.clear()
    story.opens(N2, "c2")

    assert story.handed == []


def test_what_has_expired_is_not_delivered_from_the_mailbox(story):
    story.writes(ttl=10, now_ms=0)
    story.writes(now_ms=0)

    story.opens(N1, "c1", now_ms=10_000)

    assert story.handed == [("direct.n1.n1-p1", "dm_2")]


def test_a_drain_that_is_refused_is_tried_again_in_order_when_time_has_passed(story):
    story.writes()
    story.writes()
    story.full = {"direct.n1.n1-p1"}
    story.opens(N1, "c1")
    story.ticks(500)
    assert story.delivered == []
    assert story.waiting == ["dm_1", "dm_2"]

    story.full = set()
    story.ticks(1000)
    story.ticks(1500)

    assert story.handed == [("direct.n1.n1-p1", "dm_1"), ("direct.n1.n1-p1", "dm_2")]
    assert story.waiting == []


def test_nothing_overtakes_what_waits_because_a_node_refused_it(story):
    story.writes()
    story.full = {"direct.n1.n1-p1"}
    story.opens(N1, "c1")
    story.full = set()

    story.writes()
    assert story.delivered == []
    assert story.answers[-1] == Stored("dm_2", "dm_2", queued=True)
    story.ticks(500)
    story.writes()

    assert [message_id for _, message_id in story.handed] == ["dm_1", "dm_2", "dm_3"]


def test_what_one_connection_could_not_take_is_handed_to_the_next_that_appears(story):
    story.writes()
    story.full = {"direct.n1.n1-p1"}
    story.opens(N1, "c1")

    story.opens(N2, "c2")

    assert story.handed == [("direct.n2.n2-p1", "dm_1")]
    assert story.waiting == []


def test_whoever_has_left_again_is_not_tried_but_waited_for(story):
    story.writes()
    story.full = {"direct.n1.n1-p1"}
    story.opens(N1, "c1")
    story.closes(N1, "c1")
    story.full = set()
    story.ticks(500)
    assert story.delivered == []

    story.opens(N2, "c2")
    story.settles(N1)

    assert story.handed == [("direct.n2.n2-p1", "dm_1")]


def test_a_message_is_written_down_while_it_waits_and_let_go_once_it_was_handed_over(story):
    story.writes(now_ms=3)
    story.full = {"direct.n1.n1-p1"}
    story.opens(N1, "c1", now_ms=4)
    kept = [one.delivery for one in story.records if isinstance(one, Kept)]
    assert {one.message_id for one in kept} == {"dm_1"}
    assert kept[0].sent_at_ms == 3
    assert not any(isinstance(one, Drained) for one in story.records)

    story.full = set()
    story.ticks(500)

    assert story.records[-1] == Drained("bob", ["dm_1"])


def test_a_new_message_that_was_refused_is_tried_again_for_one_who_is_here(story):
    story.opens(N1, "c1")
    story.full = {"direct.n1.n1-p1"}
    story.writes()
    story.full = set()

    story.writes()
    story.ticks(500)

    assert [message_id for _, message_id in story.handed] == ["dm_1", "dm_2"]


def test_ticks_sweep_the_mailboxes(story):
    story.writes(ttl=1)
    story.ticks(120_000)

    assert len(story.owner.mailboxes) == 0


# ---- who may have the user -----------------------------------------------------------------------


def test_a_node_that_has_not_reported_may_have_the_user_too_and_gets_the_message():
    story = Story(reported=False)
    story.report(N1, Opened("bob", "c1"))

    story.writes()

    assert story.handed == [("direct.n1.n1-p1", "dm_1"), ("direct.n2.n2-p1", "dm_1")]
    assert story.answers == [Located("dm_1", "dm_1", ["n1", "n2"])]


def test_a_message_to_whom_nobody_has_reported_waits_until_a_node_does():
    story = Story(reported=False)
    story.report(N1)

    story.writes()
    assert story.handed == []
    assert story.answers == [Stored("dm_1", "dm_1", queued=True)]
    story.report(N2, Opened("bob", "c1"))

    assert story.handed == [("direct.n2.n2-p1", "dm_1")]


def test_a_message_that_may_not_wait_goes_to_a_node_that_has_not_reported():
    story = Story(reported=False)
    story.report(N1)

    story.writes(ttl=0)

    assert story.handed == [("direct.n2.n2-p1", "dm_1")]


def test_what_all_nodes_that_may_have_had_the_user_return_is_kept():
    story = Story(reported=False)
    story.report(N1, Opened("bob", "c1"))
    story.writes()

    story.returns(N1)
    assert story.answers[1:] == []
    story.returns(N2)

    assert story.answers[1:] == [Stored("dm_1", "dm_1", queued=True)]
    assert len(story.owner.mailboxes) == 1


# ---- returned messages ---------------------------------------------------------------------------


def test_a_returned_message_is_kept_if_the_user_is_nowhere_else(story):
    story.opens(N1, "c1")
    story.writes()

    story.returns(N1)

    assert story.answers == [Located("dm_1", "dm_1", ["n1"]), Stored("dm_1", "dm_1", queued=True)]
    assert story.owner.directory.nodes_of("bob") == set()
    story.settles(N1)
    story.clear()
    story.opens(N2, "c2")
    assert story.handed == [("direct.n2.n2-p1", "dm_1")]


def test_a_returned_message_is_given_again_to_the_other_node_that_has_the_user(story):
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.writes()

    story.returns(N1)
    assert story.answers[1:] == []  # whether the other one has it, that one will tell
    story.settles(N1)

    assert story.handed[2:] == [("direct.n2.n2-p1", "dm_1")]
    assert story.owner.directory.nodes_of("bob") == {"n2"}
    assert story.waiting == []


def test_a_returned_message_follows_a_user_who_has_moved(story):
    story.opens(N1, "c1")
    story.writes()
    story.opens(N2, "c2")

    story.returns(N1)
    story.settles(N1)

    assert story.handed == [("direct.n1.n1-p1", "dm_1"), ("direct.n2.n2-p1", "dm_1")]
    assert story.answers[-1] == Stored("dm_1", "dm_1", queued=True)
    assert story.waiting == []


def test_what_both_nodes_return_is_kept(story):
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.writes()

    story.returns(N1)
    story.returns(N2)

    assert story.answers[-1] == Stored("dm_1", "dm_1", queued=True)
    assert len(story.owner.mailboxes) == 1


def test_a_user_who_came_back_to_a_node_after_it_returned_the_message_loses_nothing(story):
    """n1 has nobody, bob reconnects to n1, then n2 has nobody either."""
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.writes()
    story.returns(N1)
    story.opens(N1, "c3")

    story.returns(N2)
    story.settles(N1)
    story.settles(N2)

    assert story.handed[2:] == [("direct.n1.n1-p1", "dm_1")]


def test_what_one_connection_could_not_take_goes_to_the_users_other_one_on_the_same_node(story):
    story.writes()
    story.opens(N1, "c1")
    story.opens(N1, "c2")

    story.returns(N1)
    story.settles(N1)

    assert story.owner.directory.connections_at("bob", "n1") == ["c2"]
    assert story.handed == [("direct.n1.n1-p1", "dm_1")] * 2
    assert len(story.owner.mailboxes) == 0


def test_a_message_accepted_once_is_kept_over_the_limits():
    story = Story(messages=1)
    story.opens(N1, "c1")
    story.writes()
    story.writes()

    story.returns(N1, at=0)
    story.returns(N1, at=1)

    assert len(story.owner.mailboxes) == 2


@pytest.mark.parametrize("how", ["returns", "undelivered"])
def test_a_message_accepted_once_is_kept_over_the_limits_though_it_is_refused_meanwhile(how):
    """n1 hands back what was accepted, n2 has bob but no room, and neither has his mailbox."""
    story = Story(messages=1)
    story.opens(N1, "c1")
    story.writes()
    story.full = {"direct.n1.n1-p1", "direct.n2.n2-p1"}
    story.opens(N2, "c2")
    story.owner.mailboxes.put(direct_delivery(message_id="dm_0", sent_at_ms=0))

    getattr(story, how)(N1)

    assert story.waiting == ["dm_0", "dm_1"]


def test_what_was_returned_though_it_was_drained_waits_again(story):
    story.writes()
    story.opens(N1, "c1")
    story.returns(N1)
    assert story.waiting == ["dm_1"]

    story = Story(after=story)
    assert story.waiting == ["dm_1"]


def test_a_repeated_return_changes_nothing(story):
    story.opens(N1, "c1")
    story.writes()
    returned = DirectMessageReturned(story.delivered[0][1])
    number = story.send(N1, returned)
    story.opens(N1, "c2")
    story.clear()

    story.send(N1, returned, number=number)

    assert story.owner.directory.connections_at("bob", "n1") == ["c2"]
    assert story.delivered == story.answered == []


# ---- order over a move (R1) ----------------------------------------------------------------------


def moved(story: Story) -> None:
    """Have bob be written to on n1, leave, and come to n2; what n1 has for him is not settled."""
    story.opens(N1, "c1")
    story.writes()
    story.closes(N1, "c1")
    story.opens(N2, "c2")


def test_nothing_overtakes_what_a_node_may_yet_hand_back(story):
    moved(story)
    story.writes()
    assert story.handed == [("direct.n1.n1-p1", "dm_1")]
    assert story.answers[-1] == Stored("dm_2", "dm_2", queued=True)

    story.returns(N1)
    story.writes()
    assert story.handed == [("direct.n1.n1-p1", "dm_1")]
    story.settles(N1)

    assert story.handed[1:] == [("direct.n2.n2-p1", f"dm_{number}") for number in (1, 2, 3)]
    assert story.waiting == []
    story.writes()
    assert story.handed[-1] == ("direct.n2.n2-p1", "dm_4")
    assert story.answers[-1] == Located("dm_4", "dm_4", ["n2"])


def test_nothing_overtakes_it_either_if_the_user_is_somewhere_else_before_they_left(story):
    story.opens(N1, "c1")
    story.writes()
    story.opens(N2, "c2")
    story.writes()
    story.closes(N1, "c1")
    story.returns(N1)

    story.settles(N1)

    assert story.handed[1:] == [("direct.n2.n2-p1", "dm_1"), ("direct.n2.n2-p1", "dm_2")]


def test_a_node_is_asked_once_whatever_it_hands_back(story):
    moved(story)
    story.returns(N1)
    story.returns(N1)

    assert story.asks(N1) == [SettleAsked("bob", "n1")]
    assert story.asks(N2) == []


def test_a_node_that_the_user_has_not_left_is_asked_for_what_waits_for_its_clients_too(story):
    story.opens(N1, "c1")
    story.writes()
    story.opens(N2, "c2")
    story.returns(N1)

    assert story.asks(N1) == [SettleAsked("bob", "n1", moved=True)]


def test_a_node_that_was_given_nothing_is_not_asked(story):
    story.opens(N1, "c1")
    story.closes(N1, "c1")
    story.opens(N2, "c2")

    assert story.delivered == []


def test_a_connection_that_is_handed_something_behind_what_went_back_stays_known(story):
    moved(story)
    story.opens(N1, "c3")

    story.send(N1, DirectMessageReturned(story.given(N1), behind=True))

    assert story.owner.directory.connections_at("bob", "n1") == ["c3"]


def test_a_node_with_a_new_boot_is_waited_for_still(story):
    """Its process lives on, and so does the queue that holds what it was given."""
    moved(story)
    story.leases.renewed(life("n1", "b2"))
    story.owner.node_ended(N1, 0, clean=True)
    story.writes()
    assert story.handed == [("direct.n1.n1-p1", "dm_1")]

    story.returns(N1)
    story.settles(N1)

    assert story.handed[1:] == [("direct.n2.n2-p1", "dm_1"), ("direct.n2.n2-p1", "dm_2")]


def test_a_second_connection_on_the_same_node_asks_nobody(story):
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.writes()
    story.opens(N2, "c3")

    assert story.asks(N1) == []


def test_a_repeat_that_comes_back_undelivered_takes_no_messages_place(story):
    story.opens(N1, "c1")
    story.writes(idempotency_key="k")
    story.writes(idempotency_key="k")
    repeat = story.delivered[1][1]
    assert repeat.known

    story.send(N1, DirectMessageUndelivered(repeat), number=0)

    assert story.waiting == []
    assert len(story.delivered) == 2


@pytest.mark.parametrize("how", ["ended", "quiet", "refuses"])
def test_a_node_that_will_not_say_is_not_waited_for(story, how):
    if how == "refuses":
        story.full = {"direct.n1.n1-p1"}
        story.opens(N1, "c1")
        story.owner._holds.given("bob", ["n1"])
        story.closes(N1, "c1")
        story.opens(N2, "c2")
    else:
        moved(story)
        story.clear()
    if how == "ended":
        story.writes()
        story.ends(N1)
    if how == "quiet":
        story.writes()
        for beat in range(1, 6):
            story.leases.renewed(N2)
            story.leases.beat_returned(beat)
            story.ticks(beat)
    if how == "refuses":
        story.writes()

    expected = "dm_1" if how == "refuses" else "dm_2"
    assert story.handed == [("direct.n2.n2-p1", expected)]
    assert story.waiting == []


def test_a_message_for_who_is_on_a_quiet_node_only_waits_until_that_is_heard_or_they_move(story):
    """A dead node would keep it for long, while its user comes to another one."""
    story.opens(N1, "c1")
    for beat in range(1, 6):
        story.leases.renewed(N2)
        story.leases.beat_returned(beat)
        story.ticks(beat)
    story.writes()
    assert story.handed == []
    assert story.answers == [Stored("dm_1", "dm_1", queued=True)]

    story.leases.renewed(N1)
    story.ticks(6)

    assert story.handed == [("direct.n1.n1-p1", "dm_1")]
    assert story.waiting == []


def test_a_live_only_message_waits_for_nothing(story):
    moved(story)
    story.clear()

    story.writes(ttl=0)

    assert story.handed == [("direct.n2.n2-p1", "dm_2")]


def test_somebody_whose_client_must_confirm_first_is_not_handed_what_waits(story):
    story.opens(N1, "c1")
    story.writes()
    story.send(N1, DirectMessageReturned(story.given(N1), unwritten=True))
    story.settles(N1)
    assert story.handed == [("direct.n1.n1-p1", "dm_1")]
    assert story.waiting == ["dm_1"]

    story.send(N1, MailboxAsked("bob", "c1"))
    assert story.handed[1:] == [("direct.n1.n1-p1", "dm_1")]


# ---- unconfirmed and undelivered messages --------------------------------------------------------


def test_an_unconfirmed_message_waits_and_its_connection_stays_where_it_is(story):
    story.opens(N1, "c1")
    story.writes()

    story.returns(N1, unconfirmed=True)

    assert story.waiting == ["dm_1"]
    assert story.owner.directory.connections_at("bob", "n1") == ["c1"]
    assert story.answers[-1] == Stored("dm_1", "dm_1", queued=True)
    assert story.handed == [("direct.n1.n1-p1", "dm_1")]
    story.ticks(500)
    assert story.handed == [("direct.n1.n1-p1", "dm_1")]


def test_an_unconfirmed_message_goes_to_the_users_other_node_and_to_none_twice(story):
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.writes()

    story.returns(N1, unconfirmed=True)
    assert story.handed[2:] == [("direct.n2.n2-p1", "dm_1")]
    story.returns(N2, unconfirmed=True)

    assert story.handed[3:] == []
    assert story.waiting == ["dm_1"]


def test_a_connection_that_confirms_again_is_handed_what_waits_for_its_user(story):
    story.opens(N1, "c1")
    story.opens(N1, "c2")
    story.writes()
    story.returns(N1, unconfirmed=True)
    story.clear()

    story.send(N1, MailboxAsked("bob", "c2"))
    story.send(N1, MailboxAsked("bob", "c2"))

    [(to, delivery)] = story.delivered
    assert (to, delivery.message_id) == ("direct.n1.n1-p1", "dm_1")
    assert (delivery.connection_id, delivery.queued) == ("c2", True)
    assert story.waiting == []


def test_a_repeated_question_for_the_mailbox_is_not_answered_twice(story):
    story.opens(N1, "c1")
    number = story.send(N1, MailboxAsked("bob", "c1"))
    story.owner.mailboxes.put(direct_delivery(sent_at_ms=0))

    story.send(N1, MailboxAsked("bob", "c1"), number=number)

    assert story.delivered == []


def test_an_undelivered_message_is_looked_for_again(story):
    story.opens(N1, "c1")
    story.writes()
    story.opens(N2, "c2")
    story.ends(N1)

    story.undelivered(N1)

    assert story.handed[1:] == [("direct.n2.n2-p1", "dm_1")]
    assert story.answers[-1] == Located("dm_1", "dm_1", ["n2"])


def test_an_undelivered_message_to_who_is_gone_is_kept_whatever_the_limits():
    story = Story(messages=1)
    story.opens(N1, "c1")
    story.writes()
    story.ends(N1)
    story.writes()

    story.undelivered(N1)

    assert story.waiting == ["dm_1", "dm_2"]
    story.opens(N2, "c2")
    assert story.handed[1:] == [("direct.n2.n2-p1", "dm_1"), ("direct.n2.n2-p1", "dm_2")]


def test_an_undelivered_message_that_may_not_wait_any_longer_is_dropped(story):
    story.opens(N1, "c1")
    story.writes(ttl=1)
    story.ends(N1)

    story.undelivered(N1, now_ms=30_000)

    assert story.waiting == []
    assert story.answers[-1] == Stored("dm_1", "dm_1", queued=False)


# ---- refused messages ----------------------------------------------------------------------------


def test_a_message_that_one_node_refuses_is_the_other_ones(story):
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.full = {"direct.n1.n1-p1"}

    story.writes()

    assert story.answers == [Located("dm_1", "dm_1", ["n2"])]


def test_a_message_that_all_nodes_refuse_is_kept_and_its_sender_told(story):
    story.opens(N1, "c1")
    story.full = {"direct.n1.n1-p1"}

    story.writes()

    assert story.answers == [Stored("dm_1", "dm_1", queued=True)]
    assert len(story.owner.mailboxes) == 1


@pytest.mark.parametrize("trouble", ["refused", "returned"])
def test_nobody_is_told_that_a_live_only_message_waits(story, trouble):
    story.opens(N1, "c1")
    if trouble == "refused":
        story.full = {"direct.n1.n1-p1"}
    story.writes(ttl=0)
    if trouble == "returned":
        story.returns(N1)

    assert story.answers[-1] == Stored("dm_1", "dm_1", queued=False)
    assert len(story.owner.mailboxes) == 0


# ---- presence ------------------------------------------------------------------------------------


def test_others_hear_of_a_user_with_the_first_connection_and_after_the_last(story):
    story.opens(N1, "c1", now_ms=0)
    story.opens(N2, "c2", now_ms=0)
    story.closes(N1, "c1", now_ms=0)
    story.closes(N2, "c2", now_ms=1000)
    assert story.news == [("bob", "online")]

    story.ticks(1000 + GRACE_MS - 1)
    assert story.news == [("bob", "online")]
    story.ticks(1000 + GRACE_MS)
    assert story.news == [("bob", "online"), ("bob", "offline")]


def test_a_lost_node_takes_its_users_offline_at_once_a_stopped_one_after_the_grace(story):
    story.opens(N1, "c1", "bob")
    story.opens(N2, "c2", "eve")
    story.clear()

    story.ends(N1, clean=False)
    assert story.news == [("bob", "offline")]
    story.ends(N2, clean=True)
    assert story.news == [("bob", "offline")]
    story.ticks(GRACE_MS)
    assert story.news == [("bob", "offline"), ("eve", "offline")]


def test_what_a_client_shows_is_announced_while_it_is_here(story):
    story.send(N1, PresenceSet("bob", "away", None))
    assert story.news == []

    story.opens(N1, "c1")
    story.send(N1, PresenceSet("bob", "away", b'{"mood":1}'), now_ms=7)

    assert story.news == [("bob", "online"), ("bob", "away")]
    assert json.loads(story.announced[-1].payload)["metadata"] == {"mood": 1}
    assert json.loads(story.announced[-1].payload)["last_seen_ms"] == 7


def test_a_snapshot_is_for_the_connection_that_asked(story):
    story.opens(N1, "c1", "bob")
    story.opens(N1, "c2", "eve")
    story.clear()

    story.send(N2, PresenceAsked("c9", ["presence.eve", "presence.nobody"]))

    assert story.news == [("eve", "online")]
    assert (story.announced[0].only_node, story.announced[0].only_connection) == ("n2", "c9")


def test_a_snapshot_ends_at_its_limit(story):
    people = [Opened(f"u{n}", f"c{n}") for n in range(SNAPSHOT_LIMIT + 1)]
    story.report(N1, *people)
    story.clear()

    story.send(N2, PresenceAsked("c9", ["presence.*"]))

    assert len(story.announced) == SNAPSHOT_LIMIT


def test_a_user_whom_nobody_has_announced_is_announced_when_a_node_reports_them():
    story = Story(reported=False)
    story.report(N1, Opened("bob", "c1", welcomed=True))

    assert story.news == [("bob", "online")]


def test_a_new_message_that_its_only_node_refuses_obeys_the_limits():
    story = Story(messages=1)
    story.opens(N1, "c1")
    story.full = {"direct.n1.n1-p1"}
    story.writes()
    story.writes()

    assert len(story.owner.mailboxes) == 1
    assert story.answers[-1] == Stored("dm_2", "dm_2", queued=False)


def test_what_a_client_showed_before_its_node_reported_is_seen_once_it_has():
    story = Story(reported=False)
    story.send(N1, PresenceSet("bob", "away", b'{"a":1}'))
    story.report(N1, Opened("bob", "c1"))

    assert story.news == [("bob", "online"), ("bob", "away")]


def test_who_asked_before_a_node_reported_is_told_of_its_users_once_it_has():
    story = Story(reported=False)
    story.send(N2, PresenceAsked("w1", ["presence.*"]))
    assert story.news == []

    story.report(N1, Opened("bob", "c1"))

    assert [(one.only_connection, one.payload) for one in story.announced] == [
        ("", story.announced[0].payload),
        ("w1", story.announced[0].payload),
    ]


# ---- facts ---------------------------------------------------------------------------------------


def test_a_late_close_from_a_life_that_is_over_erases_nothing(story):
    story.opens(N1, "c1")
    story.leases.renewed(life("n1", "b2"))
    story.owner.node_ended(N1, 0, clean=True)
    story.report(life("n1", "b2"), Opened("bob", "c1"))

    story.closes(N1, "c1")

    assert story.owner.directory.connections_at("bob", "n1") == ["c1"]
    story.ticks(10 * GRACE_MS)
    assert story.news == [("bob", "online")]


def test_a_repeated_fact_is_not_applied_twice(story):
    opened = ConnectionOpened(Opened("bob", "c1"))
    number = story.send(N1, opened)
    story.closes(N1, "c1")
    story.send(N1, opened, number=number)

    assert story.owner.directory.connections_at("bob", "n1") == []


def test_what_cannot_be_read_changes_nothing_and_uses_up_no_number(story):
    with pytest.raises(codec.Undecodable):
        story.owner.perform(N1, "answers.n1", 99, b"\xc1", 0)
    assert story.owner.take() is None

    story.opens(N1, "c1")
    assert story.owner.directory.nodes_of("bob") == {"n1"}


def test_an_owner_with_nothing_to_publish_says_so(story):
    story.owner.tick(0)

    assert story.owner.take() is None


# ---- a new owner ---------------------------------------------------------------------------------


def takes_over(story: Story, how: str, *, settled: bool = True) -> Story:
    """Return what follows when another owner takes over; the nodes have yet to report.

    ``settled``: they have said that they have nothing left of what the last one gave them.
    """
    if how == "from a checkpoint":
        story.checkpoint()
    story = Story(after=story, reported=False)
    story.publish()
    for sender in (N1, N2) if settled else ():
        story.settles(sender)
    return story


@pytest.fixture(params=["from the beginning", "from a checkpoint"])
def how(request):
    return request.param


def test_a_new_owner_needs_nothing_that_is_older_than_the_checkpoint(story, how):
    assert takes_over(story, how).wants_from_ms is None


def test_whom_an_earlier_owner_has_announced_is_not_announced_again_when_reported(story, how):
    story.opens(N1, "c1", "bob")
    story.opens(N2, "c2", "eve")
    story.send(N1, PresenceSet("bob", "away", b'{"mood":1}'), now_ms=7)

    story = takes_over(story, how)
    story.report(N1, Opened("bob", "c1"))
    story.report(N2, Opened("eve", "c2"), Opened("zoe", "c3"))
    story.ticks(10 * GRACE_MS)
    assert story.news == [("zoe", "online")]

    story.send(N2, PresenceAsked("w1", ["presence.bob"]))
    seen = json.loads(story.announced[-1].payload)
    assert (seen["status"], seen["metadata"], seen["last_seen_ms"]) == ("away", {"mood": 1}, 7)


def test_whom_nobody_reports_is_announced_offline_once_all_have_reported_and_the_grace(story, how):
    story.opens(N1, "c1")

    story = takes_over(story, how)
    story.report(N1)
    story.ticks(100_000)
    story.ticks(100_000 + GRACE_MS)
    assert story.news == []  # n2 may have bob

    story.report(N2)
    story.ticks(200_000)
    story.ticks(200_000 + GRACE_MS - 1)
    assert story.news == []
    story.ticks(200_000 + GRACE_MS)

    assert story.news == [("bob", "offline")]


def test_whose_node_died_with_the_owner_is_announced_offline_when_its_lease_has_ended(story, how):
    story.opens(N1, "c1")

    story = takes_over(story, how)
    story.report(N2)
    story.ends(N1, clean=False)
    story.ticks(0)
    story.ticks(GRACE_MS)

    assert story.news == [("bob", "offline")]


def test_who_comes_back_within_the_grace_after_a_takeover_was_never_away(story, how):
    story.opens(N1, "c1")

    story = takes_over(story, how)
    story.report(N1)
    story.report(N2)
    story.ticks(0)
    story.opens(N2, "c2", now_ms=1000)
    story.ticks(10 * GRACE_MS)

    assert story.news == []


def test_whom_an_earlier_owner_has_announced_offline_is_news_when_they_come_back(story, how):
    story.opens(N1, "c1")
    story.ends(N1, clean=False)
    assert story.news == [("bob", "online"), ("bob", "offline")]

    story = takes_over(story, how)
    story.report(N1, Opened("bob", "c1"))

    assert story.news == [("bob", "online")]


def test_messages_that_wait_survive_their_owner(story, how):
    story.writes(now_ms=3)
    story.writes("eve")
    story.opens(N1, "c9", "eve")
    story.writes(now_ms=4)

    story = takes_over(story, how)
    assert story.waiting == ["dm_1", "dm_3"]
    story.report(N2, Opened("bob", "c1"))

    assert story.handed == [("direct.n2.n2-p1", "dm_1"), ("direct.n2.n2-p1", "dm_3")]
    assert [one.sent_at_ms for _, one in story.delivered] == [3, 4]
    assert takes_over(story, how).waiting == []


def test_a_drain_that_was_refused_is_the_successors(story, how):
    story.writes()
    story.full = {"direct.n1.n1-p1"}
    story.opens(N1, "c1")

    story = takes_over(story, how)
    story.report(N1, Opened("bob", "c1"))

    assert story.handed == [("direct.n1.n1-p1", "dm_1")]


@pytest.mark.parametrize("online", [True, False])
def test_a_key_that_is_used_again_after_a_takeover_keeps_its_message_id(story, how, online):
    if online:
        story.opens(N1, "c1")
    story.writes(idempotency_key="k")

    story = takes_over(story, how)
    for sender in (N1, N2):
        story.report(sender, *([Opened("bob", "c1")] if online and sender == N1 else []))
    story.clear()
    story.writes(idempotency_key="k", now_ms=299_000)

    if online:
        assert story.handed == [("direct.n1.n1-p1", "dm_1")]
        assert story.answers == [Located("dm_2", "dm_1", ["n1"])]
    else:
        assert story.answers == [Stored("dm_2", "dm_1", queued=True)]
        assert story.waiting == ["dm_1"]


def test_a_new_owner_knows_the_lives_that_have_reported_and_are_not_over(story, how):
    story.ends(N2)

    assert takes_over(story, how).owner.lives == {"n1": N1}


def test_facts_that_a_checkpoint_has_seen_are_not_applied_twice(story):
    opened = ConnectionOpened(Opened("bob", "c1"))
    number = story.send(N1, opened)
    story.closes(N1, "c1")

    story = takes_over(story, "from a checkpoint")
    story.report(N1)
    story.send(N1, opened, number=number)

    assert story.owner.directory.connections_at("bob", "n1") == []


def test_stamps_do_not_go_back_behind_those_of_messages_that_wait(story, how):
    story.writes(now_ms=10)

    story = takes_over(story, how)
    story.report(N1, Opened("bob", "c1"), now_ms=5)
    story.report(N2, now_ms=5)
    story.writes(now_ms=5)

    assert [one.sent_at_ms for _, one in story.delivered] == [10, 10]


def test_a_new_owner_lets_nothing_overtake_what_the_last_one_gave_to_nodes(story, how):
    story.opens(N1, "c1")
    story.writes()
    given = story.given(N1)

    story = takes_over(story, how, settled=False)
    story.report(N1)
    story.report(N2, Opened("bob", "c2"))
    story.writes()
    assert story.handed == []
    story.send(N1, DirectMessageReturned(given))
    story.settles(N2)
    assert story.handed == []
    story.settles(N1)

    assert story.handed == [("direct.n2.n2-p1", "dm_1"), ("direct.n2.n2-p1", "dm_2")]
    assert story.waiting == []


def test_a_new_owner_waits_for_no_node_that_is_over(story, how):
    story = takes_over(story, how, settled=False)
    story.settles(N2)
    story.report(N2, Opened("bob", "c2"))
    story.writes()
    assert story.handed == []

    story.ends(N1)

    assert story.handed == [("direct.n2.n2-p1", "dm_1")]


def test_a_new_owner_asks_for_what_waits_for_clients_when_their_user_turns_up_elsewhere(story, how):
    story = takes_over(story, how)
    story.report(N1, Opened("bob", "c1"))
    story.report(N2)

    story.opens(N2, "c2")

    assert story.asks(N1) == [SettleAsked("bob", "n1", moved=True)]


def test_what_waits_is_not_overtaken_by_what_an_unreported_node_may_take(story, how):
    story.writes()

    story = takes_over(story, how)
    story.writes()
    assert story.delivered == []
    story.report(N1, Opened("bob", "c1"))

    assert [(to, one.message_id) for to, one in story.delivered] == [
        ("direct.n1.n1-p1", "dm_1"),
        ("direct.n1.n1-p1", "dm_2"),
    ]
