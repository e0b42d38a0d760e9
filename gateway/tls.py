"""TLS of clients' sockets: handshakes, by a certificate that is read again when it changes."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import structlog
from cryptography import x509

from shared.settings import Settings, WrongSettings

log = structlog.get_logger()

CERT, KEY = "REALTIME_TLS_CERT_FILE", "REALTIME_TLS_KEY_FILE"

LOOK_SECONDS = 5.0
HANDSHAKE_SECONDS = 10.0
SHUTDOWN_SECONDS = 5.0

HIGH_WATER_BYTES = 65_536
"""Held back for a client, from here on it is paused, as without TLS; else that were 512 KiB."""

Seen = tuple[tuple[int, int] | None, ...]
Then = Callable[[asyncio.Transport], None]


class Certificate:
    """A certificate and its key; handshakes use what was read last.

    The files may be links that are exchanged, as Kubernetes does with mounted secrets.
    """

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._files = (Path(cert_file), Path(key_file))
        self._seen = self._look()
        self._trouble = ""
        self._handshakes: set[asyncio.Task[None]] = set()
        self.until, self.context = _read(*self._files)

    def _look(self) -> Seen:
        return tuple(_state(one) for one in self._files)

    def refresh(self) -> bool:
        """Read the files if they have changed; return whether they were.

        Raises:
            WrongSettings: they cannot be used; what was read before is.
        """
        if (seen := self._look()) == self._seen:
            return False
        # Never the old context: OpenSSL would take half of a pair that does not belong together.
        self.until, self.context = _read(*self._files)
        self._seen = seen
        return True

    async def run(self) -> None:
        """Look again and again, for ever; at the end no handshake goes on."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                await asyncio.to_thread(self._refresh_or_tell)
        finally:
            for handshake in self._handshakes:
                handshake.cancel()
            await asyncio.gather(*self._handshakes, return_exceptions=True)

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

    def secure(
        self, raw: asyncio.Transport, protocol: asyncio.Protocol, early: list[bytes], then: Then
    ) -> None:
        """Shake hands over a socket that has just opened, and ``then`` hand it over, or drop it.

        The protocol puts into ``early`` what it is handed before that: TLS takes what came before
        TLS was there. When the socket is lost the protocol is told, perhaps twice if it comes to
        no handshake.
        """
        # Not by ``create_server(ssl=...)``, which would show no socket before its handshake.
        handshake = asyncio.create_task(self._shake_hands(raw, protocol, early, then))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(
        self, raw: asyncio.Transport, protocol: asyncio.Protocol, early: list[bytes], then: Then
    ) -> None:
        secured = None
        securing = asyncio.ensure_future(
            asyncio.get_running_loop().start_tls(
                raw,
                protocol,
                self.context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        )
        try:
            await asyncio.sleep(0)  # from now on what is read goes to TLS
            if raw.is_closing():
                return
            _feed(raw.get_protocol(), early)
            secured = await securing
        except OSError as error:  # it was silent, went away, or speaks something else
            log.debug("no handshake", action="certify", reason=str(error))
        finally:
            securing.cancel()
            if secured is None or secured.is_closing():
                raw.abort()
                protocol.connection_lost(None)  # not always does uvloop tell
        if secured is not None and not secured.is_closing():
            secured.set_write_buffer_limits(HIGH_WATER_BYTES)
            then(secured)


def _feed(tls: asyncio.BaseProtocol, early: list[bytes]) -> None:
    """Hand over what was read too early, as the event loop would."""
    protocol = cast("asyncio.BufferedProtocol", tls)
    for data in early:
        memoryview(protocol.get_buffer(len(data)))[: len(data)] = data
        protocol.buffer_updated(len(data))
    early.clear()


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
