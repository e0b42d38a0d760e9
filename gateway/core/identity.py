"""PURE: who a client is and what its token grants (protocol decision S4)."""

from dataclasses import dataclass
from typing import Any, Literal

from shared.errors import BadRequest, Forbidden, Unauthorized
from shared.topics.pattern import contains, parse_pattern, user_word

Right = Literal["subscribe", "publish", "presence", "history", "extensions"]
Pattern = tuple[str, ...]

ALL: tuple[Pattern, ...] = (("#",),)


@dataclass(frozen=True, slots=True)
class Grants:
    """What a token allows: patterns for topics, and for users to write to."""

    subscribe: tuple[Pattern, ...] = ()
    publish: tuple[Pattern, ...] = ()
    presence: tuple[Pattern, ...] = ()
    history: tuple[Pattern, ...] = ()
    direct: tuple[Pattern, ...] = ()
    """Patterns over user ids written as one word each."""

    extensions: tuple[Pattern, ...] = ()
    """Patterns of one word over the types that a client may serve (X1)."""

    @classmethod
    def read(cls, permissions: Any) -> "Grants":
        """Read the ``permissions`` claim, or the default permissions.

        Raises:
            Unauthorized: it has not the shape that S4 describes.
        """
        if not isinstance(permissions, dict):
            raise Unauthorized("The claim permissions must be an object", claim="permissions")
        direct = permissions.get("direct", False)
        if isinstance(direct, bool):
            direct = ["*"] if direct else []
        lists = {"history": permissions.get("subscribe", []), **permissions, "direct": direct}
        names = ("subscribe", "publish", "presence", "history", "direct", "extensions")
        return cls(**{name: _patterns(name, lists.get(name, [])) for name in names})

    def require(self, right: Right, pattern: Pattern) -> None:
        """Check that every topic of a pattern is granted.

        Raises:
            Forbidden: it is not.
        """
        granted: tuple[Pattern, ...] = getattr(self, right)
        if not any(contains(grant, pattern) for grant in granted):
            raise Forbidden(f"Not granted: {right} {'.'.join(pattern)}", right=right)

    def require_direct(self, user_id: str) -> None:
        """Check that this user may be written to.

        Raises:
            Forbidden: not.
        """
        if not any(grant in {("*",), ("#",), (user_word(user_id),)} for grant in self.direct):
            raise Forbidden("Not granted: direct messages to this user", right="direct")


def _patterns(name: str, listed: Any) -> tuple[Pattern, ...]:
    claim = f"permissions.{name}"
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise Unauthorized(f"The claim {claim} must list patterns", claim=claim)
    try:
        return tuple(parse_pattern(text) for text in listed)
    except BadRequest as error:
        raise Unauthorized(f"The claim {claim} must list patterns", claim=claim) from error


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a valid token names."""

    user_id: str
    grants: Grants
    expires_at: float
    """Unix seconds."""

    issued_at: float | None = None
    presence: bytes = b"{}"
    """The token's ``presence`` claim: a JSON object that others see (P2)."""

    admin: bool = False
    """Whether it has the role ``admin``."""
