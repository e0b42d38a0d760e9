"""TLS of clients' sockets, by a certificate that is read again when its files change."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509

from shared.settings import Settings, WrongSettings

log = structlog.get_logger()

CERT, KEY = "REALTIME_TLS_CERT_FILE", "REALTIME_TLS_KEY_FILE"

LOOK_SECONDS = 5.0
HANDSHAKE_SECONDS = 10.0
SHUTDOWN_SECONDS = 5.0

Seen = tuple[tuple[int, int] | None, ...]


class Certificate:
    """A certificate and its key; who shakes hands over ``context`` is shown what was read last.

    The files may be links that are exchanged, as Kubernetes does with mounted secrets.
    """

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._files = (Path(cert_file), Path(key_file))
        self._seen = self._look()
        self._trouble = ""
        self.until, self.context = _read(*self._files)
        self._newest = self.context
        self.context.sni_callback = self._show

    def _show(self, tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        tls.context = self._newest

    def _look(self) -> Seen:
        return tuple(_state(one) for one in self._files)

    def refresh(self) -> bool:
        """Read the files if they have changed; return whether they were.

        Raises:
            WrongSettings: they cannot be used; what was read before is.
        """
        if (seen := self._look()) == self._seen:
            return False
        # Never into a context in use: other threads read it, and of a bad pair it would take half.
        self.until, self._newest = _read(*self._files)
        self._seen = seen
        return True

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self._refresh_or_tell)

    def _refresh_or_tell(self) -> None:
        trouble = ""
        try:
            if self.refresh():
                log.info("certificate", action="certify", until=str(self.until))
        except WrongSettings as error:
            trouble = str(error)
            if trouble != self._trouble:  # once for each trouble
                log.warning("certificate not read", action="certify", error=trouble)
        self._trouble = trouble


def make_certificate(settings: Settings) -> Certificate | None:
    """Return what sockets are secured with, if they are.

    Raises:
        WrongSettings: the files cannot be used.
    """
    if not settings.tls_cert_file:
        return None
    return Certificate(settings.tls_cert_file, settings.tls_key_file)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read(cert_file: Path, key_file: Path) -> tuple[datetime, ssl.SSLContext]:
    """Return until when the certificate is valid, and what uses it.

    Raises:
        WrongSettings: one of the files is no good, which is named.
    """
    until = _end(cert_file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        key_file.open("rb").close()  # OpenSSL would not tell which of the two it cannot read
        context.load_cert_chain(cert_file, key_file, password="")  # else it asks for one
    except OSError as error:
        reason = "it is not the certificate's" if isinstance(error, ssl.SSLError) else error
        raise WrongSettings(f"{KEY}: {reason}") from error
    return until, context


def _end(cert_file: Path) -> datetime:
    try:
        [certificate, *_] = x509.load_pem_x509_certificates(cert_file.read_bytes())
    except (OSError, ValueError) as error:
        reason = error if isinstance(error, OSError) else "it is no certificate in PEM"
        raise WrongSettings(f"{CERT}: {reason}") from error
    until = certificate.not_valid_after_utc
    if until <= datetime.now(UTC):
        raise WrongSettings(f"{CERT}: it has expired on {until:%Y-%m-%d}")
    return until
