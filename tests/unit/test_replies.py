from hypothesis import given
from hypothesis import strategies as st

from gateway.core.replies import Lane, Reply


def test_a_reply_waits_for_those_before_it():
    lane = Lane()
    first, second, third = lane.open(), lane.open(), lane.open()
    one, two, three = Reply([b"1"]), Reply([b"2"]), Reply([b"3"])

    assert lane.fill(second, two) == []
    assert lane.fill(first, one) == [one, two]
    assert lane.fill(third, three) == [three]


def test_an_empty_reply_holds_its_place_too():
    lane = Lane()
    first, second = lane.open(), lane.open()

    assert lane.fill(second, Reply([])) == []
    assert lane.fill(first, Reply([])) == [Reply([]), Reply([])]


@given(st.permutations(range(8)))
def test_in_whatever_order_replies_come_they_leave_in_the_order_of_their_commands(order):
    lane = Lane()
    slots = [lane.open() for _ in order]
    left = [reply.frames for at in order for reply in lane.fill(slots[at], Reply([b"%d" % at]))]

    assert left == [[b"%d" % at] for at in range(8)]
