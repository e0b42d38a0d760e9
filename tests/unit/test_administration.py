"""What operators have done with users: presence_service/administration.py, and the router."""

import pytest

from presence_service.core.revocations import KEPT_MS, Revocations
from shared.messages.answers import Erased, People, Routed, Seen
from shared.messages.deliveries import Audience, Dismissal, SubscribersWanted
from shared.messages.envelopes import (
    ConnectionClosed,
    ConnectionOpened,
    DirectMessageReturned,
    DisconnectUser,
    EraseUser,
    HistoryAsked,
    InterestReport,
    Opened,
    PeopleAsked,
    PresenceSet,
    RouteBroadcast,
    RouteDirectMessage,
    SubscribersAsked,
)
from shared.messages.forms import Form
from shared.messages.records import Revoked
from tests.unit.builders import life
from tests.unit.test_presence_owner import Story as Users
from tests.unit.test_router_owner import Story as Topics
from tests.unit.test_router_owner import broadcast

N1, N2 = life("n1"), life("n2")


def opened(user_id: str, connection_id: str, issued_at_ms: int) -> ConnectionOpened:
    return ConnectionOpened(Opened(user_id, connection_id, issued_at_ms=issued_at_ms))


def dismissed(story: Users) -> list[tuple[str, Dismissal]]:
    return [(to, one) for to, one in story.delivered if isinstance(one, Dismissal)]


# ---- where users are -----------------------------------------------------------------------------


def test_users_are_told_of_with_their_connections_and_the_nodes_that_hold_them():
    story = Users()
    story.opens(N1, "c1", now_ms=5)
    story.opens(N2, "c2", now_ms=6)
    story.send(N1, PresenceSet("bob", "busy", b'{"mood":1}'), now_ms=7)

    story.send(N1, PeopleAsked("p", ["bob", "eve"]), now_ms=8)

    bob = Seen("bob", "busy", 7, b'{"mood":1}', {"c1": "n1", "c2": "n2"})
    eve = Seen("eve", "offline", 0, b"{}", {})
    assert story.answered[-1] == ("answers.n1", People("p", [bob, eve], complete=True))


def test_an_owner_that_has_not_heard_every_node_says_so():
    story = Users(reported=False)
    story.send(N1, PeopleAsked("p", ["bob"]))

    assert story.answered[-1][1].complete is False


# ---- ending connections --------------------------------------------------------------------------


def test_every_node_that_holds_the_user_ends_the_connections():
    story = Users()
    story.opens(N2, "c2")
    story.send(N1, DisconnectUser("d", "bob"))

    [(to, dismissal)] = dismissed(story)
    assert to == "direct.n2.n2-p1"
    assert dismissal == Dismissal("bob", 0, "", "d", "answers.n1")
    assert story.answered[-1] == ("answers.n1", Routed("d", "d", ["n2"], complete=True))


def test_a_node_that_has_not_reported_may_hold_the_user_too():
    story = Users(reported=False)
    story.send(N1, DisconnectUser("d", "bob"))

    assert [to for to, _ in dismissed(story)] == ["direct.n1.n1-p1", "direct.n2.n2-p1"]


def test_whose_token_is_revoked_is_turned_away_and_not_known_here():
    story = Users()
    story.send(N1, DisconnectUser("d", "bob", 1000), now_ms=1000)
    story.send(N2, opened("bob", "old", 999), now_ms=1001)
    story.send(N2, opened("bob", "same second", 1000), now_ms=1001)
    story.send(N2, opened("eve", "hers", 1), now_ms=1001)
    story.send(N2, opened("bob", "new", 1001), now_ms=1002)

    turned_away = [one.connection_id for _, one in dismissed(story)]
    assert turned_away == ["old", "same second"]
    assert all(one.revoked_ms == 1000 for _, one in dismissed(story))
    assert story.owner.directory.connections_at("bob", "n2") == ["new"]


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_successor_knows_what_was_revoked_also_when_nodes_report(checkpointed):
    story = Users()
    story.send(N1, DisconnectUser("d", "bob", 1000), now_ms=1000)
    if checkpointed:
        story.checkpoint()
    successor = Users(after=story, reported=False, now_ms=2000)
    successor.report(N2, Opened("bob", "old", issued_at_ms=5), Opened("eve", "hers"))

    assert [one.connection_id for _, one in dismissed(successor)] == ["old"]
    assert successor.owner.directory.nodes_of("bob") == set()
    assert successor.owner.directory.nodes_of("eve") == {"n2"}


def test_a_command_that_comes_again_revokes_nothing_more():
    story = Users()
    command = DisconnectUser("d", "bob", 1000)
    number = story.send(N1, command, now_ms=1000)
    story.send(N2, opened("bob", "new", 5000), now_ms=5000)
    story.send(N1, command, number=number, now_ms=9000)

    assert list(story.owner.revocations) == [Revoked("bob", 1000)]
    assert story.owner.directory.connections_at("bob", "n2") == ["new"]


def test_who_is_turned_away_is_told_again_until_they_are_gone():
    story = Users()
    story.send(N1, DisconnectUser("d", "bob", 1000), now_ms=1000)
    story.full = {"direct.n2.n2-p1"}
    story.send(N2, opened("bob", "old", 500), now_ms=5000)
    assert dismissed(story) == []
    story.full = set()

    story.owner.tick(6000)
    story.publish()
    assert dismissed(story) == [("direct.n2.n2-p1", Dismissal("bob", 1000, "old"))]
    story.closes(N2, "old")
    story.clear()
    story.owner.tick(7000)
    story.publish()
    assert dismissed(story) == []


@pytest.mark.parametrize("how", ["its node is over", "its node reports others"])
def test_who_was_turned_away_from_a_node_that_is_over_is_forgotten(how):
    story = Users()
    story.send(N1, DisconnectUser("d", "bob", 1000), now_ms=1000)
    story.send(N2, opened("bob", "old", 500), now_ms=5000)
    if how == "its node is over":
        story.ends(N2, now_ms=6000)
    else:
        story.report(N2)
    story.clear()
    story.owner.tick(7000)
    story.publish()

    assert dismissed(story) == []


# ---- too many connections ------------------------------------------------------------------------


def test_a_user_who_has_enough_connections_anywhere_gets_no_further_one():
    story = Users(max_connections=2)
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.opens(N2, "c3")
    story.opens(N1, "hers", "eve")

    [(to, dismissal)] = dismissed(story)
    assert to == "direct.n2.n2-p1"
    assert dismissal == Dismissal("bob", 0, "c3", crowded=True)
    assert list(story.owner.directory.connections_of("bob")) == ["c1", "c2"]


def test_a_connection_that_is_known_may_renew_its_token_and_one_that_goes_makes_room():
    story = Users(max_connections=2)
    story.opens(N1, "c1")
    story.opens(N2, "c2")
    story.opens(N2, "c2")
    story.closes(N1, "c1")
    story.opens(N1, "c3")

    assert dismissed(story) == []
    assert list(story.owner.directory.connections_of("bob")) == ["c2", "c3"]


def test_connections_to_a_node_that_sends_its_clients_away_do_not_count():
    story = Users(max_connections=2)
    story.opens(N1, "c1")
    story.opens(N1, "c2")
    story.leases.draining.add(N1)
    story.opens(N2, "c3")
    story.opens(N2, "c4")
    assert dismissed(story) == []

    story.opens(N2, "c5")
    assert [one.connection_id for _, one in dismissed(story)] == ["c5"]


def test_what_a_node_reports_stays_for_it_was_let_in():
    story = Users(max_connections=1, reported=False)
    story.report(N1, Opened("bob", "c1"))
    story.report(N2, Opened("bob", "c2"))

    assert dismissed(story) == []


def test_a_notification_returned_for_one_user_is_not_returned_for_another():
    story = Users()
    story.opens(N1, "a1", "alice")
    story.opens(N2, "b2", "bob")
    for number, user_id in enumerate(("alice", "bob")):
        command = RouteDirectMessage(
            "notification_1", user_id, "ops", b"{}", ttl=0, ask=f"notification_1.{number}"
        )
        story.send(N1, command)
    for_alice, for_bob = (one for _, one in story.delivered)
    story.send(N1, ConnectionClosed("alice", "a1"))
    story.send(N1, DirectMessageReturned(for_alice))
    story.opens(N1, "b1", "bob")
    story.send(N2, ConnectionClosed("bob", "b2"))
    story.clear()
    story.send(N2, DirectMessageReturned(for_bob))

    given = [to for to, one in story.delivered if getattr(one, "target_user", "") == "bob"]
    assert given == ["direct.n1.n1-p1"]


def test_revocations_are_forgotten_when_no_token_can_be_so_old():
    revocations = Revocations()
    revocations.note(Revoked("bob", 1000))

    revocations.sweep(1000 + KEPT_MS)
    assert revocations.covering(Opened("bob", "c1")) == 1000
    revocations.sweep(1001 + KEPT_MS)
    assert not revocations.covering(Opened("bob", "c1"))
    assert list(revocations) == []


# ---- erasing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpointed", [True, False])
def test_what_waits_for_a_user_and_from_them_is_erased_for_successors_too(checkpointed):
    story = Users()
    for target in ("alice", "bob", "eve"):
        story.writes(target)
    story.send(N1, EraseUser("e", "eve"))
    assert story.answered[-1] == ("answers.n1", Erased("e", 1))
    story.send(N1, EraseUser("e", "alice"))
    assert story.answered[-1] == ("answers.n1", Erased("e", 2))
    if checkpointed:
        story.checkpoint()

    assert list(Users(after=story).owner.mailboxes) == []


@pytest.mark.parametrize("checkpointed", [True, False])
def test_what_a_user_has_said_is_erased_and_offsets_stay(checkpointed):
    story = Topics()
    story.all_report()
    for name, user_id in (("m1", "alice"), ("m2", "bob"), ("m3", "alice")):
        command = RouteBroadcast(name, "a", b"1", from_user=user_id, idempotency_key=name)
        story.send(N1, command, now_ms=5)
    assert story.ask(EraseUser("e", "alice"), now_ms=6) == [Erased("e", 2)]
    if checkpointed:
        story.checkpoint()
    story = Topics(after=story, now_ms=7)
    story.fill(now_ms=7)

    [page] = story.ask(HistoryAsked("h", "a", 10), now_ms=7)
    assert [(one.message_id, one.offset) for one in page.messages] == [("m2", 2)]
    assert (page.offset, page.complete) == (3, True)
    assert story.owner.keys.find("alice", "a\nm1", 7) is None
    assert story.owner.keys.find("bob", "a\nm2", 7) is not None


def test_a_key_that_is_used_after_an_erasure_is_known_to_successors():
    story = Topics()
    story.all_report()
    story.send(N1, EraseUser("e", "alice"), now_ms=1)
    story.send(N1, broadcast("m1", idempotency_key="k"), now_ms=2)
    story.checkpoint()
    successor = Topics(after=story, now_ms=3)
    successor.send(N1, broadcast("m2", idempotency_key="k"), now_ms=4)

    assert successor.answered[-1][1].message_id == "m1"


# ---- who is subscribed, and notifications --------------------------------------------------------


def test_nodes_that_want_a_topic_or_may_are_asked_who_is_subscribed():
    story = Topics()
    story.send(N1, InterestReport(["a.*"], first=True, last=True))
    story.send(N1, SubscribersAsked("s", "a.b"))

    asked = [one for one in story.delivered if isinstance(one[1], SubscribersWanted)]
    wanted = SubscribersWanted("a.b", "s", "answers.n1")
    assert asked == [("inbox.n1.b1", wanted), ("inbox.n2.b1", wanted)]
    assert story.answered == [("answers.n1", Routed("s", "s", ["n1", "n2"], complete=True))]


def test_a_notification_goes_to_every_node_and_is_not_kept():
    story = Topics()
    story.all_report(n1=["a"])
    audience = Audience(["a"], [])
    story.send(N1, RouteBroadcast("n", "", b"{}", form=Form.NOTIFICATION, audience=audience, ttl=0))

    assert story.addressed == ["inbox.n1.b1", "inbox.n2.b1"]
    assert all(one.audience == audience and not one.serial for _, one in story.delivered)
    assert story.published == []
