import pytest

from gateway.core.tally import Tally
from shared.messages.answers import DirectReceipt, Located, Receipt, Routed, Stored, Subscribers


def tally(*answers: object) -> Tally:
    found = Tally()
    for one in answers:
        found.add(one)
    return found


ROUTED = Routed("ask", "m", ["n1", "n2"], complete=True)
LOCATED = Located("ask", "m", ["n1", "n2"])


@pytest.mark.parametrize(
    ("answers", "answered", "complete", "exact", "recipients"),
    [
        ([], False, False, False, 0),
        ([ROUTED], True, False, False, 0),
        ([ROUTED, Receipt("ask", "n1", 2)], True, False, False, 2),
        ([ROUTED, Receipt("ask", "n1", 2), Receipt("ask", "n2", 3)], True, True, True, 5),
        # in any order, and an answer that comes twice counts once
        ([Receipt("ask", "n2", 3), Receipt("ask", "n1", 2), ROUTED], True, True, True, 5),
        ([ROUTED, Receipt("ask", "n1", 2), Receipt("ask", "n1", 2)], True, False, False, 2),
        # a receipt alone says nothing of the others
        ([Receipt("ask", "n1", 2)], False, False, False, 2),
        # nobody wants it: zero recipients, exactly
        ([Routed("ask", "m", [], complete=True)], True, True, True, 0),
        # an owner that may have missed somebody makes no exact count
        (
            [Routed("ask", "m", ["n1"], complete=False), Receipt("ask", "n1", 2)],
            True,
            True,
            False,
            2,
        ),
        # a node that the owner had not heard of reports as well
        (
            [Routed("ask", "m", [], complete=False), Receipt("ask", "n9", 1)],
            True,
            True,
            False,
            1,
        ),
    ],
)
def test_a_broadcast_is_counted_by_the_nodes_that_were_given_it(
    answers, answered, complete, exact, recipients
):
    found = tally(*answers)

    assert (found.answered, found.complete, found.exact) == (answered, complete, exact)
    assert found.recipients == recipients


@pytest.mark.parametrize(
    ("answers", "complete", "delivered_to"),
    [
        ([LOCATED], False, []),
        ([LOCATED, DirectReceipt("ask", "n1", ["c1"])], False, ["c1"]),
        (
            [LOCATED, DirectReceipt("ask", "n2", ["c3", "c2"]), DirectReceipt("ask", "n1", ["c1"])],
            True,
            ["c1", "c2", "c3"],
        ),
        # one node had nobody left; the other served the user
        (
            [LOCATED, DirectReceipt("ask", "n1", []), DirectReceipt("ask", "n2", ["c1"])],
            True,
            ["c1"],
        ),
        # nobody had anybody left: the owner looks again and will say so
        ([LOCATED, DirectReceipt("ask", "n1", []), DirectReceipt("ask", "n2", [])], False, []),
        ([LOCATED, DirectReceipt("ask", "n1", []), Stored("ask", "m", queued=True)], True, []),
        ([Stored("ask", "m", queued=False)], True, []),
    ],
)
def test_a_direct_message_is_done_when_somebody_has_it_and_all_have_spoken_or_it_is_stored(
    answers, complete, delivered_to
):
    found = tally(*answers)

    assert found.answered
    assert found.complete is complete
    assert found.delivered_to == delivered_to


PENDING = DirectReceipt("ask", "n1", [], pending=True)


@pytest.mark.parametrize(
    ("answers", "pending", "complete", "delivered_to"),
    [
        ([LOCATED], False, False, []),
        ([LOCATED, PENDING], True, False, []),
        # in any order; also before the owner has said anything
        ([PENDING, LOCATED], True, False, []),
        # a client that has yet to confirm has not spoken for its node
        ([LOCATED, PENDING, DirectReceipt("ask", "n2", ["c2"])], True, False, ["c2"]),
        (
            [LOCATED, PENDING, DirectReceipt("ask", "n2", []), DirectReceipt("ask", "n1", ["c1"])],
            True,
            True,
            ["c1"],
        ),
        # it was not confirmed in time: the owner keeps it
        ([LOCATED, PENDING, Stored("ask", "m", queued=True)], True, True, []),
    ],
)
def test_a_direct_message_is_pending_while_a_client_that_has_it_has_not_confirmed_it(
    answers, pending, complete, delivered_to
):
    found = tally(*answers)

    assert found.pending is pending
    assert found.complete is complete
    assert found.delivered_to == delivered_to


@pytest.mark.parametrize("answer", [ROUTED, LOCATED, Stored("ask", "m", queued=True)])
def test_the_owner_names_the_message_as_it_was_delivered(answer):
    assert tally(answer).message_id == "m"


def test_what_a_node_says_twice_of_its_subscribers_is_counted_once():
    tally = Tally()
    for node, users in (("n1", {"bob": 2}), ("n2", {"bob": 1, "eve": 1}), ("n1", {"bob": 2})):
        tally.add(Subscribers("s", node, users))

    assert tally.subscribers == {"bob": 3, "eve": 1}
    assert tally.recipients == 4
