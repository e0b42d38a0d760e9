"""PURE: the keys that an issuer publishes: for how long they are good, when to ask for them again.

Times are those of a monotonic clock.
"""

from dataclasses import dataclass
from math import inf

from gateway.core.jwks import KeyId, Keys, VerificationKey
from shared.errors import KeysUnavailable, Unauthorized

REFRESH_SECONDS = 300.0
"""After this a key that the issuer has withdrawn is believed no more."""

RETRY_SECONDS = 30.0
"""Between two questions at least, whatever tokens name."""

FIRST_SECONDS = 5.0
"""The same as long as there are no keys at all."""

KEEP_SECONDS = 7200.0
"""For so long the keys go on without an answer."""


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before the next question."""

    least: float
    """Seconds; sooner not even if a token names a key that is not here."""

    most: float


class Keyring:
    """The keys as the issuer has last told them."""

    def __init__(self) -> None:
        self._keys: Keys = {}
        self._as_of = -inf

    @property
    def filled(self) -> bool:
        """Whether the issuer has ever answered."""
        return self._as_of > -inf

    def replace(self, keys: Keys, now: float) -> bool:
        """Hold these keys alone, asked for at ``now``; return whether they are other ones."""
        others = keys.keys() != self._keys.keys()
        self._keys, self._as_of = keys, now
        return others

    def find(self, kid: KeyId, now: float) -> VerificationKey:
        """Return the key that a token names.

        Raises:
            Unauthorized: there is no such key, as the issuer has said just now.
            KeysUnavailable: that must be asked, or the keys are too old.
        """
        if now < self._as_of + KEEP_SECONDS and (key := self._keys.get(kid)) is not None:
            return key
        if now < self._as_of + RETRY_SECONDS:
            raise Unauthorized("The token is not valid", reason="UnknownKey")
        raise KeysUnavailable

    def pause(self, now: float) -> Pause:
        """Return when to ask again, after a question that was asked at ``now``."""
        if self._as_of == now:
            return Pause(RETRY_SECONDS, REFRESH_SECONDS)
        wait = RETRY_SECONDS if self.filled else FIRST_SECONDS
        return Pause(wait, wait)
