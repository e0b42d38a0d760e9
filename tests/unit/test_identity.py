import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.identity import Grants
from shared.errors import Forbidden, Unauthorized
from shared.topics.pattern import contains, parse_pattern
from tests.unit.test_pattern import ALL_TOPICS, PATTERN, covers

RIGHTS = ("subscribe", "publish", "presence", "history", "extensions")


def allows(grants: Grants, right: str, pattern: str) -> bool:
    try:
        grants.require(right, parse_pattern(pattern))
    except Forbidden:
        return False
    return True


def may_write_to(grants: Grants, user_id: str) -> bool:
    try:
        grants.require_direct(user_id)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize("right", RIGHTS)
def test_a_right_is_a_list_of_patterns_and_says_nothing_of_the_others_but_of_history(right):
    grants = Grants.read({right: ["chat.*", "news.#"]})

    assert allows(grants, right, "chat.a")
    assert allows(grants, right, "news.a.b")
    assert not allows(grants, right, "chat.#")
    others = {other for other in RIGHTS if allows(grants, other, "chat.a")} - {right}
    assert others == ({"history"} if right == "subscribe" else set())
    assert not may_write_to(grants, "bob")


@pytest.mark.parametrize("right", RIGHTS)
@given(st.lists(PATTERN, max_size=3), PATTERN)
def test_a_right_allows_just_what_one_of_its_patterns_contains(right, listed, pattern):
    grants = Grants.read({right: [".".join(words) for words in listed]})
    granted = allows(grants, right, ".".join(pattern))

    assert granted is any(contains(words, pattern) for words in listed)
    if granted:
        topics = [topic for topic in ALL_TOPICS if covers(pattern, topic)]
        assert any(all(covers(words, topic) for topic in topics) for words in listed)


def test_whoever_may_subscribe_may_look_back_unless_the_token_says_otherwise():
    default = Grants.read({"subscribe": ["chat.*"]})
    narrower = Grants.read({"subscribe": ["chat.*"], "history": ["chat.a"]})
    none = Grants.read({"subscribe": ["chat.*"], "history": []})

    assert default.history == default.subscribe
    assert allows(narrower, "history", "chat.a")
    assert not allows(narrower, "history", "chat.b")
    assert none.history == ()


def test_whoever_may_look_back_may_not_subscribe_for_that():
    assert Grants.read({"history": ["chat.*"]}).subscribe == ()


def test_a_refusal_names_the_right_that_is_missing():
    with pytest.raises(Forbidden) as caught:
        Grants.read({}).require("publish", ("a",))
    assert caught.value.details == {"right": "publish"}


def test_no_permissions_at_all_allow_nothing():
    grants = Grants.read({})

    assert not any(allows(grants, right, "a") for right in RIGHTS)
    assert not may_write_to(grants, "bob")


def test_unknown_permissions_are_ignored():
    assert Grants.read({"fly": 1}) == Grants()


USERS = ["bob", "bob@example.com", "a b", "Zoë", "100%", "$bob", "#", "presence", "system"]


@pytest.mark.parametrize("user_id", USERS)
@pytest.mark.parametrize(("direct", "allowed"), [(True, True), (False, False), (["*"], True)])
def test_direct_true_means_everybody_whatever_their_name(user_id, direct, allowed):
    assert may_write_to(Grants.read({"direct": direct}), user_id) is allowed


def test_direct_may_name_users_as_words_of_a_topic():
    grants = Grants.read({"direct": ["bob", "a%20b"]})

    assert may_write_to(grants, "bob")
    assert may_write_to(grants, "a b")
    assert not may_write_to(grants, "carol")


@pytest.mark.parametrize("permissions", [None, [], "subscribe", 1, True])
def test_permissions_are_an_object_or_the_token_is_refused(permissions):
    with pytest.raises(Unauthorized) as caught:
        Grants.read(permissions)
    assert caught.value.details["claim"] == "permissions"


@pytest.mark.parametrize(
    "listed", [None, 1, "#", "abc", "chat.*", {"a": 1}, [1], [None], [["a"]], ["a b"], ["#.a"]]
)
def test_a_right_is_a_list_of_patterns_or_the_token_is_refused(listed):
    for right in (*RIGHTS, "direct"):
        with pytest.raises(Unauthorized) as caught:
            Grants.read({right: listed})
        assert caught.value.details["claim"] == f"permissions.{right}"
