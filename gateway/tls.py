"""TLS of clients' sockets: the certificate is read again when its files change."""

import asyncio
import ssl
from pathlib import Path

import structlog

from shared.settings import Settings, WrongSettings

log = structlog.get_logger()

LOOK_SECONDS = 5.0
HANDSHAKE_SECONDS = 10.0
SHUTDOWN_SECONDS = 5.0

Seen = tuple[tuple[int, int], ...]


class Certificate:
    """A certificate and its key, in one context for all sockets; new ones use what was read last.

    The files may be links that are exchanged, as Kubernetes does with mounted secrets.
    """

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._files = (cert_file, key_file)
        self._seen = self._look()
        self.context = _context(*self._files)

    def _look(self) -> Seen:
        found = (Path(one).stat() for one in self._files)
        return tuple((one.st_ino, one.st_mtime_ns) for one in found)

    def refresh(self) -> bool:
        """Read the files if they have changed; return whether they were.

        Raises:
            OSError: they cannot be read, or do not belong together; what was read before is used.
        """
        if (seen := self._look()) == self._seen:
            return False
        _context(*self._files)  # a trial: half of a bad pair would already be in use
        _load(self.context, *self._files)
        self._seen = seen
        return True

    async def run(self) -> None:
        """Look again and again, for ever."""
        trouble = ""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await asyncio.to_thread(self.refresh):
                    log.info("certificate", action="certify", file=self._files[0])
                trouble = ""
            except OSError as error:
                if trouble != (trouble := str(error)):  # once for each trouble
                    log.warning("certificate not read", action="certify", error=trouble)


def make_certificate(settings: Settings) -> Certificate | None:
    """Return what sockets are secured with, if they are.

    Raises:
        WrongSettings: the files cannot be used.
    """
    if not settings.tls_cert_file:
        return None
    try:
        return Certificate(settings.tls_cert_file, settings.tls_key_file)
    except OSError as error:
        raise WrongSettings(f"REALTIME_TLS_CERT_FILE, REALTIME_TLS_KEY_FILE: {error}") from error


def _context(cert_file: str, key_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load(context, cert_file, key_file)
    return context


def _load(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    context.load_cert_chain(cert_file, key_file, password="")  # else OpenSSL asks for one
