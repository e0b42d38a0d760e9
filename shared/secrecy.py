"""PURE: whether a secret could be guessed.

It cannot be told whether a secret was drawn at random, but it can that it was not.
"""

from collections import Counter
from itertools import pairwise

MIN_DISTINCT = 8
"""Different bytes; of 32 random hexadecimal digits one in 28 million has fewer."""

PLACEHOLDERS = (
    "changeme",
    "changethis",
    "replaceme",
    "yoursecret",
    "stringsecret",
    "supersecret",
    "topsecret",
    "secretkey",
    "bitsecret",
    "bitslong",
    "password",
    "placeholder",
    "insecure",
    "donotuse",
    "default",
)
"""What examples hold (those of jwt.io, too), without what is neither letter nor digit."""


def weakness(secret: str) -> str | None:
    """Return what shows that nobody has drawn this secret at random, if anything does."""
    plain = "".join(character for character in secret.lower() if character.isalnum())
    if any(word in plain for word in PLACEHOLDERS):
        return "is that of an example"
    if len(set(secret.encode())) < MIN_DISTINCT:
        return f"has fewer than {MIN_DISTINCT} different bytes"
    if _is_repeated(secret) or _is_run(secret):
        return "repeats itself, or counts"
    return None


def _is_repeated(secret: str) -> bool:
    return secret in (secret + secret)[1:-1]


def _is_run(secret: str) -> bool:
    """Whether most bytes follow from the one before, as in ``0123456789abcdef``."""
    steps = Counter(after - before for before, after in pairwise(secret.encode()))
    return max(steps.values(), default=0) > len(secret.encode()) / 2
