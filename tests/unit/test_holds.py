from presence_service.core.holds import Holds


def test_a_user_is_held_until_every_node_that_was_asked_has_settled():
    holds = Holds()
    holds.given("bob", ["n1", "n2"])
    assert "bob" not in holds

    holds.begin("bob", "n1")
    assert holds.awaits("bob", "n1")
    assert not holds.awaits("bob", "n2")
    holds.begin("bob", "n2")
    holds.begin("bob", "n2")
    assert "bob" in holds
    assert not holds.settled("bob", "n1")
    assert not holds.settled("bob", "n2")  # it was asked twice
    assert holds.settled("bob", "n2")
    assert "bob" not in holds
    assert holds.given_to("bob") == {"n1", "n2"}
    holds.left("bob", "n1")
    assert holds.given_to("bob") == {"n2"}


def test_a_node_that_was_not_asked_frees_nobody():
    holds = Holds()
    holds.begin("bob", "n1")

    assert not holds.settled("bob", "n2")
    assert not holds.settled("eve", "n1")
    assert "bob" in holds


def test_a_node_that_is_over_is_not_waited_for_and_has_nothing_left():
    holds = Holds()
    for user_id in ("bob", "eve", "zoe"):
        holds.given(user_id, ["n1", "n2"])
    holds.begin("bob", "n1")
    holds.begin("eve", "n1")
    holds.begin("eve", "n2")

    assert holds.wait_no_longer("n1") == ["bob"]
    assert "eve" in holds
    assert holds.given_to("zoe") == {"n1", "n2"}
    holds.ended("n1")
    assert holds.given_to("zoe") == {"n2"}
