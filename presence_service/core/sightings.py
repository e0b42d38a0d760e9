"""PURE: what others hear of a user, and who asked for whom (protocol decision P1)."""

from collections.abc import Iterator

from presence_service.core.directory import Directory, Person
from shared.messages import frames
from shared.messages.envelopes import SNAPSHOT_LIMIT, RouteBroadcast
from shared.messages.forms import Form
from shared.topics.pattern import has_wildcard, parse_pattern, presence_topic
from shared.topics.trie import Trie


def sighting(
    person: Person | None = None,
    *,
    user_id: str = "",
    status: str = "",
    last_seen_ms: int = 0,
    node_id: str = "",
    connection_id: str = "",
) -> RouteBroadcast:
    """Return the announcement of a person, or of a user who has gone.

    With ``node_id`` and ``connection_id`` only this connection hears it.
    """
    seen = person or Person(user_id, status, last_seen_ms)
    payload = frames.presence(seen.user_id, seen.status, seen.last_seen_ms, seen.metadata)
    return RouteBroadcast(
        message_id="",
        topic=presence_topic(seen.user_id),
        payload=payload,
        form=Form.PRESENCE,
        answer=False,
        only_node=node_id,
        only_connection=connection_id,
    )


def asked_for(patterns: list[str], directory: Directory) -> Iterator[Person]:
    """Yield the users who are online and whose presence these patterns meet, each once."""
    split = [parse_pattern(pattern) for pattern in patterns]
    if not any(has_wildcard(words) for words in split):
        for pattern in patterns:
            if (person := directory.seen_on(pattern)) is not None:
                yield person
        return
    trie = Trie()
    for pattern in patterns:
        trie.add(pattern)
    left = SNAPSHOT_LIMIT
    for person in directory.people.values():
        if left and trie.match(presence_topic(person.user_id)):
            left -= 1
            yield person
