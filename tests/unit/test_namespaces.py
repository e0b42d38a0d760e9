"""How long what is said on a topic is kept: router/core/namespaces.py."""

import pytest

from router.core.namespaces import OFF, Namespaces
from router.core.retention import Retention
from shared.messages.records import Published
from shared.topics.pattern import parse_pattern

LONG, SHORT = Retention(messages=1000, seconds=3600), Retention(messages=10, seconds=60)
NONE = Retention(messages=0, seconds=60)


def namespaces(**retentions: Retention) -> Namespaces:
    """By pattern, in order; ``_`` stands for a dot, ``X`` and ``XX`` for the wildcards."""
    return Namespaces(
        {
            name.replace("_", ".").replace("XX", "#").replace("X", "*"): one
            for name, one in retentions.items()
        }
    )


def keeps_all(found: Namespaces, pattern: str) -> bool:
    return found._keep_all(parse_pattern(pattern))


# ---- one topic -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("chat.a", LONG),
        ("chat.a.b", SHORT),
        ("chat", SHORT),
        ("chat.off", LONG),  # though a later namespace names it
        ("news", NONE),
        ("other", OFF),
    ],
)
def test_the_first_namespace_that_meets_a_topic_decides(topic: str, expected: Retention) -> None:
    found = namespaces(chat_X=LONG, chat_off=NONE, chat_XX=SHORT, news=NONE, news_XX=LONG)

    assert found.of(topic) == expected


def test_the_order_is_as_it_was_given() -> None:
    assert namespaces(a_b=LONG, XX=SHORT).of("a.b") == LONG
    assert namespaces(XX=SHORT, a_b=LONG).of("a.b") == SHORT


def test_where_no_namespace_meets_a_topic_nothing_is_kept() -> None:
    assert not Namespaces({}).keep("a")
    assert not namespaces(chat_XX=LONG).keep("news")
    assert namespaces(chat_XX=LONG).keep("chat.a")


def test_no_messages_switch_history_off() -> None:
    assert not namespaces(off_XX=NONE, XX=LONG).keep("off.a")
    assert namespaces(off_XX=NONE, XX=LONG).keep("on.a")


@pytest.mark.parametrize("topic", ["presence.bob", "system.news", "$internal.a", "$internal"])
def test_a_wildcard_in_front_does_not_meet_reserved_topics(topic: str) -> None:
    first = topic.split(".", maxsplit=1)[0]

    assert not Namespaces({"#": LONG, "*": LONG, "*.*": LONG}).keep(topic)
    assert Namespaces({"#": NONE, f"{first}.#": LONG}).keep(topic)


def test_the_longest_that_anything_is_kept_is_known() -> None:
    assert namespaces(a=SHORT, b=LONG, c=NONE).longest_ms == 3_600_000
    assert Namespaces({}).longest_ms == 0


# ---- all topics of a pattern ---------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["a", "a.b", "a.*", "*.b", "a.#", "#"])
def test_one_namespace_for_everything_keeps_all(pattern: str) -> None:
    assert keeps_all(namespaces(XX=SHORT), pattern)
    assert not keeps_all(namespaces(XX=NONE), pattern)
    assert not keeps_all(Namespaces({}), pattern)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("chat.a", True),
        ("chat.off", False),
        ("chat.off.a", False),
        ("chat.*", False),
        ("chat.#", False),
        ("*.off", False),
        ("#", False),
        ("chat.on.*", True),
        ("news.#", True),
        ("*.a", True),  # ``off`` alone has no history below ``chat``
    ],
)
def test_a_pattern_is_kept_whole_if_no_topic_of_it_is_switched_off_before_it_is_kept(
    pattern: str, expected: bool
) -> None:
    found = namespaces(chat_off_XX=NONE, XX=SHORT)

    assert keeps_all(found, pattern) is expected


def test_what_is_switched_off_only_behind_what_keeps_it_is_kept() -> None:
    found = namespaces(chat_XX=SHORT, chat_off=NONE, XX=NONE)

    assert keeps_all(found, "chat.#")
    assert keeps_all(found, "chat.off")
    assert not keeps_all(found, "#")


def test_a_pattern_that_is_kept_only_in_part_is_not_kept() -> None:
    found = namespaces(chat_a=SHORT, chat_X_b=SHORT)

    assert keeps_all(found, "chat.a")
    assert keeps_all(found, "chat.*.b")
    assert not keeps_all(found, "chat.*")
    assert not keeps_all(found, "chat.#")


@pytest.mark.parametrize("pattern", ["presence.bob", "presence.*", "system.#", "$a.b"])
def test_reserved_topics_are_kept_only_under_their_own_name(pattern: str) -> None:
    named = {"presence.#": SHORT, "system.#": SHORT, "$a.#": SHORT}

    assert not keeps_all(namespaces(XX=SHORT), pattern)
    assert keeps_all(Namespaces(named), pattern)


def test_that_reserved_topics_are_switched_off_concerns_no_wildcard_in_front() -> None:
    assert keeps_all(namespaces(presence_XX=NONE, XX=SHORT), "#")


# ---- a history -----------------------------------------------------------------------------------


def test_a_history_holds_of_each_topic_what_its_namespace_says() -> None:
    history = namespaces(few_XX=Retention(1, 60), XX=Retention(2, 60)).history()
    for topic in ("few.a", "many.a") * 3:
        place = history.next_place(topic)
        message = Published(
            serial=place.serial,
            process="n1-p1",
            number=place.serial,
            message_id=f"m{place.serial}",
            topic=topic,
            epoch=place.epoch,
            offset=place.offset,
            sent_at_ms=0,
            payload=b"1",
            metadata=b"",
            from_user="alice",
        )
        history.append(message, 0)

    assert [one.offset for one in history.held.of("few.a")] == [3]
    assert [one.offset for one in history.held.of("many.a")] == [2, 3]
