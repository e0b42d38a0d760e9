"""The judge of the chaos suite, fed good and bad histories: who never catches, proves nothing."""

import pytest

from tests.chaos.history import Recovery
from tests.chaos.reading import Limits, covers
from tests.chaos.story import Story
from tests.chaos.violations import Breach

LOST, DOUBLED, REORDERED, PHANTOM, STUCK = Breach
EPOCH = "e1"


@pytest.fixture
def story():
    """Ann speaks, bob hears ``t.a``; both have been there for a while."""
    told = Story()
    told.open("ann", "bob")
    told.subscribe("bob", "t.a")
    told.wait(60)
    return told


def returns(story, offset, *, recovered=True, epoch=EPOCH, node="gateway-2"):
    """Bob's connection breaks, and he comes back to another gateway, asking by offset."""
    story.close("bob")
    story.wait(1)
    story.open("bob", node=node)
    recovery = Recovery("t.a", recovered, offset, epoch)
    story.subscribe("bob", "t.a", recoveries=[recovery])


def assert_only(breach, story, limits=None):
    verdict = story.check(limits)
    assert verdict.kinds == {breach}, verdict
    return verdict


def assert_fine(story, limits=None):
    verdict = story.check(limits)
    assert not verdict.violations, verdict
    return verdict.figures


# ---- what is right -------------------------------------------------------------------------------


def test_messages_that_all_arrive_once_and_in_order_are_accepted(story):
    for number in range(1, 6):
        story.broadcast("ann", number, "t.a", "bob")
        story.direct("ann", number + 100, "bob")
    figures = assert_fine(story)
    assert (figures.sent, figures.acked, figures.received) == (10, 10, 10)
    assert figures.statuses == {"delivered": 10}


def test_what_is_replayed_after_a_recovery_is_as_good_as_live(story):
    story.send("ann", 1, "t.a")
    story.receive("bob", "ann", 1, at=(7, EPOCH))
    story.ack("ann", 1)
    story.close("bob")
    story.broadcast("ann", 2, "t.a")
    story.open("bob", node="gateway-2")
    story.subscribe("bob", "t.a", recoveries=[Recovery("t.a", True, 7, EPOCH)])
    story.receive("bob", "ann", 2, at=(8, EPOCH), replayed=True)
    assert_fine(story)


def test_what_was_sent_before_the_status_or_never_acknowledged_need_not_arrive(story):
    story.broadcast("ann", 1, "t.b")
    story.subscribe("bob", "t.b")
    story.send("ann", 2, "t.b")
    story.fail("ann", 2, outcome="unknown")
    assert assert_fine(story).unavailable == 1


def test_a_repeated_command_may_overtake_and_counts_once(story):
    story.send("ann", 1, "t.a")
    story.fail("ann", 1)
    story.broadcast("ann", 2, "t.a", "bob")
    story.broadcast("ann", 1, "t.a", "bob")
    assert assert_fine(story).sent == 2


def test_repeats_are_filtered_of_direct_messages_and_of_a_recovery_by_time(story):
    story.direct("ann", 1, "bob")
    story.broadcast("ann", 2, "t.a", "bob")
    story.close("bob")
    story.open("bob")
    story.subscribe("bob", "t.a", recoveries=[Recovery("t.a", True)])
    story.receive("bob", "ann", 2, replayed=True)
    story.receive("bob", "ann", 1)
    assert assert_fine(story).filtered == 2


# ---- lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [1, 3, 5], ids=["the head", "the middle", "the tail"])
def test_a_broadcast_that_never_arrives_is_lost(story, gap):
    for number in range(1, 6):
        story.broadcast("ann", number, "t.a", *(["bob"] if number != gap else []))
    (lost,) = assert_only(LOST, story).violations
    assert f"ann#{gap}" in lost.what


def test_partial_is_a_promise_only_where_there_is_history(story):
    story.send("ann", 1, "t.a")
    story.ack("ann", 1, "partial")
    assert_only(LOST, story)
    assert_fine(story, Limits(history=False))


def test_what_was_missed_between_two_connections_is_lost_if_it_was_said_to_be_recovered(story):
    story.close("bob")
    story.broadcast("ann", 1, "t.a")
    story.open("bob")
    story.subscribe("bob", "t.a", recoveries=[Recovery("t.a", True, 0, EPOCH)])
    assert_only(LOST, story)


def test_a_client_that_could_not_recover_has_lost_unless_history_had_let_go(story):
    returns(story, 0, recovered=False)
    assert_only(LOST, story)
    assert assert_fine(story, Limits(retention_messages=0)).not_recovered == 1


@pytest.mark.parametrize(("seconds", "lost"), [(0.5, False), (5, True)])
def test_a_plain_client_loses_only_what_was_on_its_way_when_its_gateway_was_killed(seconds, lost):
    story = Story()
    story.open("ann")
    story.open("bob", plain=True, node="gateway-2")
    story.subscribe("bob", "t.a")
    story.broadcast("ann", 1, "t.a")
    story.wait(seconds)
    story.begin("kill gateway", "gateway-2")
    story.close("bob")
    story.end("kill gateway", "gateway-2")
    verdict = story.check()
    assert (len(verdict.of(LOST)), verdict.figures.in_flight) == ((1, 0) if lost else (0, 1))


def test_a_plain_client_loses_no_direct_message_but_what_was_written_to_its_dying_socket(story):
    story.open("eve", plain=True)
    for number in (1, 2):
        story.send("ann", number, "eve", "direct")
    story.ack("ann", 1, to=[story.on("eve")])
    story.ack("ann", 2, "queued")
    story.close("eve")
    story.open("eve", plain=True)
    (lost,) = assert_only(LOST, story).violations
    assert "ann#2" in lost.what


@pytest.mark.parametrize("status", ["delivered", "pending", "queued"])
def test_an_acknowledged_direct_message_that_never_comes_is_lost(story, status):
    story.send("ann", 1, "bob", "direct")
    story.ack("ann", 1, status)
    assert_only(LOST, story)


def test_a_direct_message_may_wait_for_one_who_does_not_return(story):
    story.close("bob", wanted=True)
    story.send("ann", 1, "bob", "direct")
    story.fail("ann", 1, 404, queued=True)
    story.ack("ann", 1, "queued")
    assert_fine(story)
    story.open("bob")
    assert_only(LOST, story)


# ---- doubled -------------------------------------------------------------------------------------


def test_a_broadcast_twice_on_one_connection_is_doubled(story):
    story.broadcast("ann", 1, "t.a", "bob", "bob")
    assert DOUBLED in story.check().kinds


def test_a_broadcast_again_after_a_recovery_by_offset_is_doubled(story):
    story.broadcast("ann", 1, "t.a", "bob")
    returns(story, 1)
    story.receive("bob", "ann", 1, replayed=True)
    assert_only(DOUBLED, story)


@pytest.mark.parametrize("kind", ["broadcast", "direct"])
def test_one_command_under_two_names_is_doubled(story, kind):
    story.send("ann", 1, "t.a" if kind == "broadcast" else "bob", kind)
    story.receive("bob", "ann", 1, name="first")
    story.close("ann")
    story.open("ann")
    story.send("ann", 1, "t.a" if kind == "broadcast" else "bob", kind)
    story.receive("bob", "ann", 1, name="second")
    story.ack("ann", 1)
    assert_only(DOUBLED, story)


def test_two_devices_that_got_one_command_under_two_names_show_that_it_doubled(story):
    story.open("bob@phone", node="gateway-2")
    story.send("ann", 1, "bob", "direct")
    story.receive("bob", "ann", 1, name="first")
    story.receive("bob@phone", "ann", 1, name="second")
    story.ack("ann", 1)
    assert_only(DOUBLED, story)


def test_a_command_answered_twice_is_doubled(story):
    story.broadcast("ann", 1, "t.a", "bob")
    story.ack("ann", 1)
    assert_only(DOUBLED, story)


# ---- reordered -----------------------------------------------------------------------------------


def inversion(story, kind="broadcast", to="t.a", *, between=lambda: None):
    for number in (1, 2):
        story.send("ann", number, to, kind)
    story.receive("bob", "ann", 2)
    between()
    story.receive("bob", "ann", 1)
    for number in (1, 2):
        story.ack("ann", number)


@pytest.mark.parametrize(("kind", "to"), [("broadcast", "t.a"), ("direct", "bob")])
def test_a_younger_message_first_is_reordered(story, kind, to):
    inversion(story, kind, to)
    assert_only(REORDERED, story)


@pytest.mark.parametrize(("kind", "to"), [("broadcast", "t.a"), ("direct", "bob")])
def test_a_younger_message_first_is_reordered_also_across_two_gateways(story, kind, to):
    inversion(story, kind, to, between=lambda: returns(story, 1))
    assert_only(REORDERED, story)


def test_two_topics_and_two_connections_of_a_sender_have_no_order(story):
    story.subscribe("bob", "t.b")
    story.send("ann", 1, "t.a")
    story.send("ann", 2, "t.b")
    story.close("ann")
    story.open("ann")
    story.send("ann", 3, "t.a")
    for number in (3, 2, 1):
        story.receive("bob", "ann", number)
    assert_fine(story)


def test_a_message_that_a_dead_gateway_held_may_come_late(story):
    def dies():
        story.begin("kill gateway")
        returns(story, 0)
        story.end("kill gateway")

    inversion(story, "direct", "bob", between=dies)
    assert assert_fine(story).excused == 1


@pytest.mark.parametrize(("later", "excused"), [(1, True), (6, False)])
def test_a_gateway_counts_as_dead_until_it_is_known_to_be_quiet(story, later, excused):
    """What is sent just after its death is put into the queue of the process that is gone."""
    story.begin("kill gateway")
    returns(story, 0)
    story.end("kill gateway")
    story.wait(later)
    inversion(story, "direct", "bob")
    if excused:
        assert assert_fine(story).excused == 1
    else:
        assert_only(REORDERED, story)


@pytest.mark.parametrize(("parted", "excused"), [("gateway-1", True), ("gateway-3", False)])
def test_a_gateway_that_a_partition_cut_off_counts_as_dead_and_no_other(story, parted, excused):
    def is_parted():
        story.begin("partition halves", "rabbitmq")
        story.end("partition halves", "rabbitmq", cut_off=(parted,))

    inversion(story, "direct", "bob", between=is_parted)
    assert story.check().kinds == (set() if excused else {REORDERED})


@pytest.mark.parametrize(
    ("kind", "to", "fault"),
    [
        ("direct", "bob", ("kill gateway", "gateway-3")),
        ("direct", "bob", ("kill presence", "presence-1")),
        ("broadcast", "t.a", ("kill router", "router-1")),
    ],
)
def test_the_death_of_another_excuses_nothing(story, kind, to, fault):
    def dies():
        story.begin(*fault)
        story.end(*fault)

    inversion(story, kind, to, between=dies)
    assert_only(REORDERED, story)


def hears(story, *places):
    for number, place in enumerate(places, 1):
        story.send("ann", number, "t.a")
        story.receive("bob", "ann", number, at=place)
        story.ack("ann", number)


@pytest.mark.parametrize("places", [(1, 3), (2, 1), (4, 4)])
def test_offsets_that_do_not_go_up_by_one_are_reordered(story, places):
    hears(story, *((offset, EPOCH) for offset in places))
    assert_only(REORDERED, story)


def test_an_epoch_that_changes_without_recovered_false_is_seen(story):
    hears(story, (1, EPOCH), (1, "e2"))
    assert_only(REORDERED, story)


@pytest.mark.parametrize(("recovered", "breach"), [(True, LOST), (False, None)])
def test_an_epoch_may_change_only_for_one_who_was_told_recovered_false(story, recovered, breach):
    hears(story, (1, EPOCH))
    returns(story, 1, recovered=recovered)
    story.send("ann", 9, "t.a")
    story.receive("bob", "ann", 9, at=(1, "e2"))
    assert story.check(Limits(retention_seconds=0)).kinds == ({breach} if breach else set())


def test_an_offset_left_out_by_a_recovery_is_seen(story):
    hears(story, (1, EPOCH))
    returns(story, 1)
    story.send("ann", 9, "t.a")
    story.receive("bob", "ann", 9, at=(3, EPOCH))
    assert_only(REORDERED, story)


# ---- phantoms ------------------------------------------------------------------------------------


def test_what_nobody_has_sent_is_a_phantom(story):
    story.receive("bob", "nobody", 1, topic="t.a")
    assert_only(PHANTOM, story)


def test_a_broadcast_on_another_topic_or_to_one_who_did_not_ask_is_a_phantom(story):
    story.send("ann", 1, "t.a")
    story.receive("bob", "ann", 1, topic="t.b")
    story.receive("ann", "ann", 1)
    assert len(assert_only(PHANTOM, story).violations) == 2


def test_a_broadcast_after_unsubscribed_is_a_phantom(story):
    story.unsubscribe("bob", "t.a")
    story.broadcast("ann", 1, "t.a", "bob")
    assert PHANTOM in story.check().kinds


def test_a_direct_message_to_another_user_is_a_phantom(story):
    story.open("eve")
    story.send("ann", 1, "bob", "direct")
    story.receive("eve", "ann", 1)
    assert_only(PHANTOM, story)


@pytest.mark.parametrize(
    ("refusal", "phantom"),
    [
        ({}, True),
        ({"outcome": "unknown"}, False),
        ({"code": 404, "queued": False}, True),
        ({"code": 400}, True),
    ],
)
def test_what_was_said_not_to_be_sent_and_arrives_is_a_phantom(story, refusal, phantom):
    story.send("ann", 1, "bob", "direct")
    story.fail("ann", 1, **refusal)
    story.receive("bob", "ann", 1)
    assert (PHANTOM in story.check().kinds) is phantom


@pytest.mark.parametrize("holder", ["ghost/1", "ann/1", "bob/1", "bob/3"])
def test_delivered_to_names_only_connections_that_can_have_had_it(story, holder):
    story.close("bob")
    story.open("bob")
    story.wait(10)
    story.direct("ann", 1, "bob")
    story.ack("ann", 1, to=[holder])
    story.open("bob")
    assert len(story.check().of(PHANTOM)) == 1


def test_more_recipients_than_connections_that_asked_are_phantoms(story):
    story.send("ann", 1, "t.a")
    story.receive("bob", "ann", 1)
    story.ack("ann", 1, recipients=2)
    assert_only(PHANTOM, story)


def watched(story):
    story.open("eve")
    story.open("watcher", node="gateway-2")
    story.presence("watcher", "eve", "online")
    story.wait(60)


@pytest.mark.parametrize(("seconds", "phantom"), [(10, False), (30, True)])
def test_who_is_said_to_be_online_long_after_the_last_socket_is_a_phantom(story, seconds, phantom):
    watched(story)
    story.close("eve", wanted=True)
    story.wait(seconds)
    story.presence("watcher", "eve", "offline")
    assert story.check().kinds == ({PHANTOM} if phantom else set())


def test_who_never_goes_offline_or_comes_from_nowhere_is_a_phantom(story):
    watched(story)
    story.close("eve", wanted=True)
    story.wait(60)
    story.presence("watcher", "nobody", "online")
    assert len(assert_only(PHANTOM, story).violations) == 2


def test_presence_has_as_long_again_after_each_fault(story):
    watched(story)
    story.close("eve", wanted=True)
    story.wait(10)
    story.begin("freeze rabbitmq", "rabbitmq")
    story.wait(20)
    story.end("freeze rabbitmq", "rabbitmq")
    story.wait(12)
    story.presence("watcher", "eve", "offline")
    assert_fine(story)


@pytest.mark.parametrize("target", ["presence-1", "gateway-1"])
def test_offline_is_wrong_for_a_user_whose_socket_no_fault_has_touched(story, target):
    watched(story)
    story.begin("kill", target)
    story.end("kill", target)
    story.presence("watcher", "eve", "offline")
    assert story.check().kinds == ({PHANTOM} if target == "presence-1" else set())


@pytest.mark.parametrize("parted", ["gateway-1", "gateway-3"])
def test_offline_is_right_for_users_of_a_gateway_that_a_partition_cut_off(story, parted):
    watched(story)
    story.begin("partition halves", "rabbitmq")
    story.end("partition halves", "rabbitmq", cut_off=(parted,))
    story.presence("watcher", "eve", "offline")
    assert story.check().kinds == (set() if parted == "gateway-1" else {PHANTOM})


# ---- stuck ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [True, False])
def test_a_command_without_an_answer_in_time_is_stuck(story, late):
    story.send("ann", 1, "t.x")
    story.wait(8)
    if late:
        story.ack("ann", 1)
    assert_only(STUCK, story)


def test_a_command_that_was_answered_once_and_sent_twice_is_stuck(story):
    story.send("ann", 1, "t.x")
    story.fail("ann", 1)
    story.send("ann", 1, "t.x")
    story.wait(8)
    assert_only(STUCK, story)


def test_nobody_waits_for_an_answer_whose_connection_has_closed(story):
    story.send("ann", 1, "t.x")
    story.close("ann")
    story.open("ann")
    story.wait(8)
    assert assert_fine(story).unanswered == 1


def test_a_busy_machine_and_a_frozen_gateway_excuse_a_late_answer(story):
    story.send("ann", 1, "t.x")
    story.stall(4)
    story.wait(4)
    story.ack("ann", 1)
    story.begin("freeze gateway")
    story.send("ann", 2, "t.x")
    story.wait(20)
    story.end("freeze gateway")
    story.ack("ann", 2)
    assert_fine(story)


def test_an_error_that_no_fault_explains_is_seen(story):
    story.send("ann", 1, "t.x")
    story.fail("ann", 1, 500)
    assert_only(STUCK, story)


@pytest.mark.parametrize(("seconds", "stuck"), [(12, False), (30, True)])
def test_a_client_that_is_not_welcomed_after_the_last_fault_is_stuck(story, seconds, stuck):
    story.begin("kill gateway")
    story.close("bob")
    story.wait(60)
    story.end("kill gateway")
    story.wait(seconds)
    story.open("bob")
    assert story.check().kinds == ({STUCK} if stuck else set())


def test_a_client_that_left_by_itself_is_not_missed(story):
    story.close("bob", wanted=True)
    story.wait(60)
    assert_fine(story)


@pytest.mark.parametrize(
    ("queue", "stuck"),
    [
        ("router.commands.3", True),
        ("direct.gateway-1.abc", True),
        ("undelivered", True),
        ("poison", True),
        ("presence.terms.3", False),
        ("router.log.3", False),
    ],
)
def test_a_queue_that_is_not_empty_in_the_end_is_stuck(story, queue, stuck):
    story.queues = {queue: 1, "router.commands.0": 0}
    assert story.check().kinds == ({STUCK} if stuck else set())


# ---- figures -------------------------------------------------------------------------------------


def test_recovery_is_timed_from_a_fault_to_the_first_acks_of_what_was_sent_after_it(story):
    story.open("eve")
    story.begin("kill router", "router-1")
    story.wait(1)
    story.end("kill router", "router-1")
    story.send("ann", 1, "t.x")
    story.send("eve", 1, "t.y")
    story.wait(2)
    story.ack("ann", 1)
    story.wait(1)
    story.ack("eve", 1)
    (recovery,) = assert_fine(story).recoveries
    assert recovery.first_after_begin == pytest.approx(3, abs=0.1)
    assert recovery.first_after_end == pytest.approx(2, abs=0.1)
    assert recovery.everywhere == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    ("pattern", "topic", "meets"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a", False),
        ("a", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("*.b", "a.b", True),
        ("#", "a.b", True),
    ],
)
def test_patterns_meet_topics_as_the_protocol_says(pattern, topic, meets):
    assert covers(pattern, topic) is meets
