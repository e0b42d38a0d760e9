"""What is wrong with TLS to RabbitMQ, in words: it does not mend itself, so logs must say it."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import BrokerUnavailable

TROUBLES = (ssl.SSLError, FileNotFoundError, PermissionError)
"""Somebody else answers than our authority vouches for; or ``cafile`` names no file for us."""


@contextmanager
def tls_explained() -> Iterator[None]:
    """Have the error of a connection that cannot be secured say why."""
    try:
        yield
    except Exception as error:
        trouble = error.__cause__ or error
        if isinstance(trouble, TROUBLES):
            raise BrokerUnavailable(f"No TLS with RabbitMQ: {trouble}") from error
        raise
