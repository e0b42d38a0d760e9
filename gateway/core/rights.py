"""PURE: what commands take: names that are well-formed, and rights (protocol decision S4)."""

from gateway.core.identity import Grants, Right
from shared.errors import BadRequest, Forbidden
from shared.messages import client
from shared.topics.pattern import (
    has_wildcard,
    is_reserved,
    parse_pattern,
    parse_topic,
    user_word,
)

Words = tuple[str, ...]


def topic_words(topic: str, *, at: str = "data.topic") -> Words:
    """Return the words of a topic.

    Raises:
        BadRequest: it is none, or a pattern.
    """
    try:
        return parse_topic(topic)
    except BadRequest as error:
        error.details["field"] = at
        raise


def require_subscribe(grants: Grants, pattern: str) -> None:
    """Check that a pattern may be subscribed to; one of presence takes a right of its own.

    Raises:
        BadRequest: it is no pattern.
        Forbidden: it is not granted.
    """
    words = parse_pattern(pattern)
    right: Right = "presence" if words[0] == "presence" else "subscribe"
    grants.require(right, words)


def may_subscribe(grants: Grants, pattern: str) -> bool:
    """Whether a pattern may be subscribed to."""
    try:
        require_subscribe(grants, pattern)
    except Forbidden:
        return False
    return True


def require_publish(grants: Grants, topic: str) -> None:
    """Check that a client may broadcast on a topic (T3, T4).

    Raises:
        BadRequest: it is none, or a pattern.
        Forbidden: it is reserved, or not granted.
    """
    words = topic_words(topic)
    if is_reserved(words[0]):
        raise Forbidden("Only the service speaks on this topic", topic=topic)
    grants.require("publish", words)


def require_history(grants: Grants, topic: str) -> None:
    """Check that a topic's history may be read (H1).

    Raises:
        BadRequest: it is no topic, or a pattern.
        Forbidden: it is not granted.
    """
    words = topic_words(topic)
    require_subscribe(grants, topic)
    grants.require("history", words)


def require_recovery(
    grants: Grants, topic: str, start: client.RecoverFrom, topics: list[str]
) -> None:
    """Check that what was missed of one of ``topics`` may be asked for like this (H3).

    Raises:
        BadRequest: it may not.
        Forbidden: it is not granted.
    """
    field = f"data.recover.{topic[:255]}"
    reason = ""
    if topic not in topics:
        reason = "not among data.topics"
    elif (start.offset is None) != (start.epoch is None):
        reason = "offset and epoch belong together"
    elif (start.since is None) == (start.offset is None):
        reason = "give either since, or offset and epoch"
    elif start.offset is not None and has_wildcard(parse_pattern(topic)):
        reason = "a pattern is recovered by since"
    if reason:
        raise BadRequest(f"{field}: {reason}", field=field, reason=reason)
    grants.require("history", parse_pattern(topic))


def require_presence(grants: Grants, query: client.PresenceQuery) -> None:
    """Check that it may be asked who is online, or subscribed to a topic (P3).

    Raises:
        BadRequest: it asks for neither or both, or for what is no topic.
        Forbidden: it is not granted.
    """
    if bool(query.users) == (query.topic is not None):
        reason = "give either users or a topic"
        raise BadRequest(f"data: {reason}", field="data", reason=reason)
    for user_id in query.users:
        grants.require("presence", ("presence", user_word(user_id)))
    if query.topic is not None:
        topic_words(query.topic)
        require_subscribe(grants, query.topic)
        grants.require("presence", ("presence", "*"))
