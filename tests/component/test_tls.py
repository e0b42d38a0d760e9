"""Clients who come by wss://, without a proxy."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization

from gateway import tls
from shared.settings import WrongSettings, load
from tests.component.conftest import Start
from tests.support.certificates import Authority
from tests.support.embedded import Place, Talk, token, until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> dict[str, Any]:
    """The settings that name ``tls.pem`` and ``tls.key``."""
    cert_file, key_file = authority.issue("tls", "localhost")
    return {"tls_cert_file": str(cert_file), "tls_key_file": str(key_file)}


@pytest.fixture
async def secured(start: Start, pair: dict[str, Any]) -> Place:
    """The services, with these files."""
    return await start(**pair)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def come(
    session: aiohttp.ClientSession, place: Place, trust: ssl.SSLContext, user: str = "alice"
) -> Talk:
    """Connect and read the Welcome."""
    url = f"wss://127.0.0.1:{place.server.port}/ws?token={token(user)}"
    talk = Talk(await session.ws_connect(url, ssl=trust, server_hostname="localhost"))
    talk.welcome = (await talk.hear())["data"]["details"]
    return talk


def certificate_of(talk: Talk) -> bytes:
    """Return the certificate that the gateway has shown."""
    found = talk.socket.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


async def test_clients_talk_over_tls(
    secured: Place, authority: Authority, session: aiohttp.ClientSession
) -> None:
    alice = await come(session, secured, authority.trusting())
    bob = await come(session, secured, authority.trusting(), "bob")
    await bob.subscribe("chat")

    assert (await alice.broadcast("chat", "hi"))["recipients"] == 1
    assert (await bob.hear())["data"]["payload"] == "hi"


async def test_many_who_come_at_once_all_come_in(
    secured: Place, authority: Authority, session: aiohttp.ClientSession
) -> None:
    trust = authority.trusting()

    talks = await asyncio.gather(
        *(come(session, secured, trust, f"user{number}") for number in range(50))
    )

    assert len({talk.id for talk in talks}) == 50


async def test_who_does_not_trust_the_authority_does_not_connect(
    secured: Place, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await come(session, secured, ssl.create_default_context())


async def test_nobody_is_served_without_tls(secured: Place, session: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ClientError):
        await session.ws_connect(f"ws://127.0.0.1:{secured.server.port}/ws?token={token('alice')}")


async def test_tls_before_1_2_is_not_spoken(
    secured: Place, authority: Authority, session: aiohttp.ClientSession
) -> None:
    old = authority.trusting()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1

    with pytest.raises(aiohttp.ClientError):
        await come(session, secured, old)


async def replaced(place: Place, authority: Authority, tmp_path: Path) -> None:
    """Put a new pair where the old one was, as Kubernetes does: at once."""
    authority.issue("new", "localhost")
    for ending in ("key", "pem"):
        (tmp_path / f"new.{ending}").rename(tmp_path / f"tls.{ending}")


async def test_a_new_certificate_is_shown_to_those_who_come_and_the_others_stay(
    secured: Place,
    authority: Authority,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    early = await come(session, secured, authority.trusting())
    await replaced(secured, authority, tmp_path)
    certificate = secured.server.node.certificate
    assert certificate is not None

    assert certificate.refresh()
    late = await come(session, secured, authority.trusting(), "bob")

    assert certificate_of(early) != certificate_of(late)
    await late.subscribe("chat")
    assert (await early.broadcast("chat", "hi"))["recipients"] == 1
    assert not certificate.refresh()


async def test_who_names_no_host_is_shown_the_new_certificate_too(
    secured: Place, authority: Authority, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    trust = authority.trusting()
    trust.check_hostname = False
    url = f"wss://127.0.0.1:{secured.server.port}/ws?token={token('alice')}"
    early = Talk(await session.ws_connect(url, ssl=trust))
    await replaced(secured, authority, tmp_path)
    certificate = secured.server.node.certificate
    assert certificate is not None

    assert certificate.refresh()

    late = Talk(await session.ws_connect(url, ssl=trust))
    assert certificate_of(early) != certificate_of(late)


async def test_a_context_in_use_is_never_loaded_into(
    secured: Place, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = secured.server.node.certificate
    assert certificate is not None
    loaded = []
    load_cert_chain = ssl.SSLContext.load_cert_chain

    def load(context: ssl.SSLContext, *files: Any, **rest: Any) -> None:
        loaded.append(context)
        load_cert_chain(context, *files, **rest)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    await replaced(secured, authority, tmp_path)

    assert certificate.refresh()

    assert loaded
    assert certificate.context not in loaded


async def test_changed_files_are_seen_without_being_told(
    start: Start,
    pair: dict[str, Any],
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.01)
    place = await start(**pair)
    certificate = place.server.node.certificate
    assert certificate is not None
    seen = certificate._seen

    await replaced(place, authority, tmp_path)

    await until(lambda: certificate._seen != seen, "the new pair is read")


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("gone", tls.CERT),
        ("nonsense", tls.CERT),
        ("expired", "expired"),
        ("key gone", tls.KEY),
        ("another key", tls.KEY),
    ],
)
async def test_files_that_cannot_be_used_leave_the_old_certificate_in_use(
    broken: str,
    named: str,
    secured: Place,
    authority: Authority,
    session: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    before = certificate_of(await come(session, secured, authority.trusting()))
    certificate = secured.server.node.certificate
    assert certificate is not None
    if broken == "gone":
        (tmp_path / "tls.pem").unlink()
    elif broken == "nonsense":
        (tmp_path / "tls.pem").write_text("nonsense")
    elif broken == "expired":
        authority.issue("tls", "localhost", lasts=-timedelta(minutes=1))
    elif broken == "key gone":
        (tmp_path / "tls.key").unlink()
    else:
        shutil.copy(authority.issue("other", "localhost")[0], tmp_path / "tls.pem")

    with pytest.raises(WrongSettings, match=named):
        certificate.refresh()

    after = await come(session, secured, authority.trusting(), "bob")
    assert certificate_of(after) == before


async def test_a_client_that_never_says_hello_is_let_go(
    start: Start, pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.app.HANDSHAKE_SECONDS", 0.05)
    place = await start(**pair)

    reader, writer = await asyncio.open_connection("127.0.0.1", place.server.port)

    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


async def test_a_slow_reader_is_dropped_over_tls_too(
    secured: Place,
    authority: Authority,
    session: aiohttp.ClientSession,
) -> None:
    speaker = await come(session, secured, authority.trusting())
    sleeper = await come(session, secured, authority.trusting(), "sleeper")
    await sleeper.subscribe("chat")
    connections = secured.server.node.connections

    connection = connections.get(sleeper.id)
    assert connection is not None
    outbox = connection._outbox
    outbox.limit = 300_000

    paused = 0
    while connections.get(sleeper.id) is not None:
        await speaker.broadcast("chat", "x" * 60_000)
        assert outbox.held_back <= outbox.limit
        paused += outbox._protocol.writing_paused

    assert paused  # long before all that may be held is
    assert secured.server.node.metrics._closes["4413"]._value.get() == 1


def test_settings_that_cannot_secure_anything_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("nonsense")
    given: Any = {
        "tls_cert_file": str(tmp_path / "bad.pem"),
        "tls_key_file": str(tmp_path / "no.key"),
    }

    with pytest.raises(WrongSettings, match="REALTIME_TLS_CERT_FILE"):
        tls.make_certificate(load({}, mode="development", **given))
    with pytest.raises(WrongSettings, match="set both, or neither"):
        load({}, mode="development", tls_key_file="tls.key")


def test_a_key_with_a_password_is_refused_and_no_terminal_is_asked(
    pair: dict[str, Any], tmp_path: Path
) -> None:
    key = serialization.load_pem_private_key((tmp_path / "tls.key").read_bytes(), None)
    (tmp_path / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    with pytest.raises(WrongSettings, match=tls.KEY):
        tls.make_certificate(load({}, mode="development", **pair))
