import string
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import BadRequest
from shared.topics.pattern import (
    contains,
    is_reserved,
    overlaps,
    parse_pattern,
    parse_topic,
    presence_topic,
    user_of,
    user_word,
)
from shared.topics.trie import Trie

TOPICS = [
    "a",
    "chat.general",
    "A-Z_0-9:@%",
    "$SYS.a",
    "presence.bob%40example%2Ecom",
    ".".join(["w"] * 16),
    "x" * 255,
]
PATTERNS = ["*", "#", "a.*", "*.a", "a.*.b", "a.#", "*.#", "a.*.#", ".".join(["*"] * 16)]
NEITHER = [
    ("", "a word is empty"),
    (".", "a word is empty"),
    ("a.", "a word is empty"),
    (".a", "a word is empty"),
    ("a..b", "a word is empty"),
    ("#.a", "'#' may only be the last word"),
    ("a.#.#", "'#' may only be the last word"),
    ("foo*", "word 1 may hold only"),
    ("a.b#", "word 2 may hold only"),
    ("a.**", "word 2 may hold only"),
    ("a b", "word 1 may hold only"),
    ("a\n", "word 1 may hold only"),
    ("a.b\n", "word 2 may hold only"),
    ("a\x00", "word 1 may hold only"),
    ("a/b", "word 1 may hold only"),
    ("café", "word 1 may hold only"),
    ("a.$b", "word 2 may hold only"),
    ("$", "word 1 may hold only"),
    ("$*", "word 1 may hold only"),
    (".".join(["w"] * 17), "more than 16 words"),
    ("x" * 256, "longer than 255 bytes"),
]


@pytest.mark.parametrize("text", TOPICS)
def test_a_topic_is_words_joined_by_dots_and_a_pattern_too(text):
    assert parse_topic(text) == parse_pattern(text) == tuple(text.split("."))


@pytest.mark.parametrize("text", PATTERNS)
def test_a_pattern_may_hold_wildcards_and_a_topic_may_not(text):
    assert parse_pattern(text) == tuple(text.split("."))
    with pytest.raises(BadRequest) as caught:
        parse_topic(text)
    assert caught.value.details == {"topic": text, "reason": "holds a wildcard"}


@pytest.mark.parametrize(("text", "reason"), NEITHER)
@pytest.mark.parametrize("parse", [parse_topic, parse_pattern])
def test_anything_else_is_refused_with_its_reason(parse, text, reason):
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert caught.value.details["reason"].startswith(reason)
    assert caught.value.details["topic"] == text[:255]


LETTERS = string.ascii_letters + string.digits + "_-:@%"
NAME = st.builds(
    lambda dollar, words: dollar + ".".join(words),
    st.sampled_from(["", "$"]),
    st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=16),
)


@given(NAME)
def test_any_name_of_the_grammar_is_the_words_it_is_joined_of(name):
    words = parse_topic(name)

    assert ".".join(words) == name
    assert parse_pattern(name) == words


STRANGE = sorted({*string.printable} - {*LETTERS, ".", "$"})


@given(NAME, st.characters(exclude_characters=LETTERS + ".$"), st.data())
def test_one_strange_character_anywhere_makes_it_no_name(name, strange, data):
    at = data.draw(st.integers(0, len(name)))
    for inserted in (strange, *STRANGE):
        with pytest.raises(BadRequest):
            parse_pattern(name[:at] + inserted + name[at:])


@given(NAME)
def test_an_empty_word_anywhere_makes_it_no_name(name):
    words = name.split(".")
    for at in range(len(words) + 1):
        with pytest.raises(BadRequest):
            parse_pattern(".".join([*words[:at], "", *words[at:]]))


@pytest.mark.parametrize(
    ("word", "reserved"),
    [
        ("$SYS", True),
        ("presence", True),
        ("system", True),
        ("chat", False),
        ("Presence", False),
        ("systems", False),
    ],
)
def test_the_service_keeps_dollar_words_presence_and_system_to_itself(word, reserved):
    assert is_reserved(word) is reserved


# ---- what a pattern covers -----------------------------------------------------------------------

ALPHABET = ("a", "b", "presence")
ALL_TOPICS = [topic for size in (1, 2, 3, 4) for topic in product((*ALPHABET, "z"), repeat=size)]
PATTERN = st.builds(
    lambda words, rest: (*words, *rest),
    st.lists(st.sampled_from((*ALPHABET, "*")), max_size=3),
    st.sampled_from([(), ("#",)]),
).filter(bool)


def covers(pattern: tuple[str, ...], topic: tuple[str, ...]) -> bool:
    """The rule of AMQP and T4, written down once more, as plainly as can be."""
    if pattern[0] in {"*", "#"} and topic[0] in {"presence", "system"}:
        return False
    if pattern[-1] == "#":
        fixed = pattern[:-1]
        return len(topic) >= len(fixed) and covers_words(fixed, topic)
    return len(topic) == len(pattern) and covers_words(pattern, topic)


def covers_words(words: tuple[str, ...], topic: tuple[str, ...]) -> bool:
    return all(word in {"*", topic[at]} for at, word in enumerate(words))


@pytest.mark.parametrize(
    ("pattern", "topic", "met"),
    [
        ("updates.*", "updates.a", True),
        ("updates.*", "updates", False),
        ("updates.*", "updates.a.b", False),
        ("updates.#", "updates", True),
        ("updates.#", "updates.a.b", True),
        ("*", "a", True),
        ("*", "a.b", False),
        ("#", "a.b.c", True),
        ("#", "$SYS.a", False),
        ("*.a", "presence.a", False),
        ("#", "system", False),
        ("system.#", "system", True),
        ("presence.*", "presence.bob", True),
        ("$SYS.*", "$SYS.a", True),
        ("a.*", "a.presence", True),
        ("Chat", "chat", False),
    ],
)
def test_a_topic_meets_a_pattern_as_in_amqp_but_for_what_is_reserved(pattern, topic, met):
    trie = Trie()
    trie.add(pattern)

    assert trie.match(topic) == ([pattern] if met else [])


@pytest.mark.parametrize(
    ("grant", "pattern", "granted"),
    [
        ("chat.*", "chat.a", True),
        ("chat.*", "chat.*", True),
        ("chat.*", "chat.#", False),
        ("chat.*", "chat", False),
        ("chat.#", "chat", True),
        ("chat.#", "chat.*.b", True),
        ("chat.a", "chat.*", False),
        ("#", "presence.bob", False),
        ("*.#", "system.a", False),
        ("presence.#", "presence.*", True),
    ],
)
def test_a_grant_must_contain_the_pattern_that_is_asked_for(grant, pattern, granted):
    assert contains(parse_pattern(grant), parse_pattern(pattern)) is granted


@given(PATTERN, PATTERN)
@example(("*", "#"), ("*",))
def test_a_grant_contains_a_pattern_just_when_it_covers_all_its_topics(grant, pattern):
    if (grant, pattern) == (("*", "#"), ("#",)):
        return  # the same topics, written otherwise; refusing it is safe
    everything = all(covers(grant, topic) for topic in ALL_TOPICS if covers(pattern, topic))

    assert contains(grant, pattern) is everything


@given(PATTERN)
def test_a_pattern_contains_itself(pattern):
    assert contains(pattern, pattern)


@given(PATTERN, PATTERN, PATTERN)
@example(("#",), ("*", "#"), ("a", "#"))
def test_what_a_contained_pattern_contains_is_contained_too(widest, wide, narrow):
    if contains(widest, wide) and contains(wide, narrow):
        assert contains(widest, narrow)


@pytest.mark.parametrize(
    ("one", "other", "met"),
    [
        ("chat.*", "*.a", True),
        ("chat.*", "chat.*.a", False),
        ("chat.#", "chat", True),
        ("chat.#", "*", True),
        ("chat.#", "chat.a.*", True),
        ("chat.a.#", "chat", False),
        ("chat.a", "chat.b", False),
        ("a.*.c", "*.b.#", True),
        ("#", "*", True),
        ("#", "presence.*", False),
        ("*.bob", "presence.#", False),
        ("*.#", "$SYS", False),
        ("presence.#", "presence.*", True),
        ("a.*", "a.presence", True),
    ],
)
def test_two_patterns_overlap_if_some_topic_meets_both(one, other, met):
    assert overlaps(parse_pattern(one), parse_pattern(other)) is met


@given(PATTERN, PATTERN)
def test_patterns_overlap_just_when_a_topic_can_be_found_that_both_cover(one, other):
    common = any(covers(one, topic) and covers(other, topic) for topic in ALL_TOPICS)

    assert overlaps(one, other) is overlaps(other, one) is common


# ---- users in topics -----------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
@example("bob@example.com")
@example("100%")
@example("..")
def test_any_user_id_is_one_word_of_a_topic_and_back(user_id):
    words = parse_topic(presence_topic(user_id))

    assert words == ("presence", user_word(user_id))
    assert user_of(".".join(words)) == user_id


@pytest.mark.parametrize("words", [("presence",), ("presence", "a", "b")])
def test_what_is_no_presence_topic_names_nobody(words):
    assert user_of(".".join(words)) == ""


def test_a_presence_topic_spells_out_every_byte_outside_the_grammar():
    assert presence_topic("Zoë.*@x") == "presence.Zo%C3%AB%2E%2A@x"
