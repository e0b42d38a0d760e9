"""The grammar of topics and patterns (protocol decisions T1 to T4).

A *topic* is concrete, ``chat.general``. A *pattern* may hold ``*`` (exactly one word) and, as its
last word, ``#`` (any number of words, none included).
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from shared.errors import BadRequest

ONE_WORD = "*"
ANY_WORDS = "#"
MAX_WORDS = 16
MAX_BYTES = 255

_WORD = re.compile(r"[A-Za-z0-9_\-:@%]+\Z")
_FIRST_WORD = re.compile(r"\$?[A-Za-z0-9_\-:@%]+\Z")
_NAMED_RESERVED = frozenset({"presence", "system"})


def parse_topic(text: str) -> tuple[str, ...]:
    """Split a concrete topic into its words.

    Raises:
        BadRequest: not a topic, or a pattern (T2, T3); ``details`` hold the text and the reason.
    """
    words = parse_pattern(text)
    if has_wildcard(words):
        raise BadRequest("A topic may hold no wildcard", topic=text, reason="holds a wildcard")
    return words


def parse_pattern(text: str) -> tuple[str, ...]:
    """Split a pattern into its words.

    Raises:
        BadRequest: not a pattern (T1, T2); ``details`` hold the text and the reason.
    """
    words = tuple(text.split("."))
    if reason := _fault(text, words):
        raise BadRequest(f"Not a topic: {reason}", topic=text[:MAX_BYTES], reason=reason)
    return words


def _fault(text: str, words: tuple[str, ...]) -> str | None:
    if len(text) > MAX_BYTES:
        return f"longer than {MAX_BYTES} bytes"
    if len(words) > MAX_WORDS:
        return f"more than {MAX_WORDS} words"
    for at, word in enumerate(words):
        if word == ONE_WORD:
            continue
        if word == ANY_WORDS:
            if at != len(words) - 1:
                return "'#' may only be the last word"
        elif not word:
            return "a word is empty"
        elif not (_WORD if at else _FIRST_WORD).match(word):
            return f"word {at + 1} may hold only A-Z a-z 0-9 _ - : @ % (or be * or #)"
    return None


def has_wildcard(words: Sequence[str]) -> bool:
    """Whether these words of a pattern cover more than one topic."""
    return ANY_WORDS in words or ONE_WORD in words


def is_reserved(first_word: str) -> bool:
    """Whether only the service itself speaks below this first word (T4)."""
    return first_word.startswith("$") or first_word in _NAMED_RESERVED


def contains(grant: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether every topic that meets ``pattern`` meets ``grant`` too (S4).

    ``*`` and ``#`` as the first word of the grant do not cover reserved topics (T4).
    """
    if grant and grant[0] in {ONE_WORD, ANY_WORDS} and pattern and is_reserved(pattern[0]):
        return False
    for at, word in enumerate(grant):
        if word == ANY_WORDS:
            return True
        if at == len(pattern) or pattern[at] == ANY_WORDS:
            return False
        if word not in {ONE_WORD, pattern[at]}:
            return False
    return len(grant) == len(pattern)


def overlaps(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether some topic meets both patterns.

    ``*`` and ``#`` as the first word do not meet reserved topics (T4).
    """
    for pattern, first in ((one, other[0]), (other, one[0])):
        if pattern[0] in {ONE_WORD, ANY_WORDS} and is_reserved(first):
            return False
    for words in zip(one, other, strict=False):
        if ANY_WORDS in words:
            return True
        if ONE_WORD not in words and words[0] != words[1]:
            return False
    shared = min(len(one), len(other))
    return one[shared:] + other[shared:] in {(), (ANY_WORDS,)}


def user_word(user_id: str) -> str:
    """Write a user id as one word of a topic: every byte outside the grammar as ``%XX`` (T2)."""
    return "".join(
        chr(byte) if _PLAIN.match(chr(byte)) else f"%{byte:02X}" for byte in user_id.encode()
    )


def user_of(topic: str) -> str:
    """Return the user id of a presence topic; what is no such topic names nobody."""
    words = topic.split(".")
    return unquote(words[1]) if len(words) == len(("presence", "user")) else ""


_PLAIN = re.compile(r"[A-Za-z0-9_\-:@]")


def presence_topic(user_id: str) -> str:
    """Return the topic on which this user's presence is announced (P1)."""
    return f"presence.{user_word(user_id)}"
