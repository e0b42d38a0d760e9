import json
import socket

import pytest

from shared import settings
from shared.settings import HISTORY, OPEN, WrongSettings, load, unknown
from tests.unit.token_builders import PEM

SECRET = "Nobody would think of this, surely"
PRODUCTION = {
    "REALTIME_JWT_SECRET": SECRET,
    "REALTIME_JWT_ISSUER": "https://id.example.com",
    "REALTIME_ALLOWED_ORIGINS": "https://app.example.com, https://b.example.com",
}


def problems(**environ: str) -> list[str]:
    """The variables that are complained of, in a setting that is else complete."""
    with pytest.raises(WrongSettings) as caught:
        load({**PRODUCTION, **environ})
    return [line.partition(":")[0] for line in str(caught.value).splitlines()]


def test_production_is_the_default_and_closed():
    found = load(PRODUCTION)

    assert found.mode == "production"
    assert found.host == "0.0.0.0"  # noqa: S104
    assert found.default_permissions == {}
    assert found.allowed_origins == ["https://app.example.com", "https://b.example.com"]
    assert found.jwt_algorithms == ["HS256"]


def test_production_demands_a_key_an_issuer_and_origins():
    with pytest.raises(WrongSettings) as caught:
        load({})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "REALTIME_JWT_SECRET",
        "REALTIME_JWT_ISSUER",
        "REALTIME_ALLOWED_ORIGINS",
    ]


def test_who_serves_no_clients_needs_neither_key_nor_issuer_nor_origins():
    found = load({}, for_clients=False)

    assert found.mode == "production"
    assert not found.jwt_secret


def test_development_needs_nothing(monkeypatch):
    monkeypatch.setattr(settings, "development_secret", lambda: SECRET)

    found = load({"REALTIME_MODE": "development"})

    assert found.host == "localhost"
    assert found.jwt_secret == SECRET
    assert found.default_permissions == OPEN
    assert found.allowed_origins == ()
    assert found.node_id.startswith(
        "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:48]
    )


def test_development_generates_no_secret_where_a_key_is_given(monkeypatch):
    monkeypatch.delattr(settings, "development_secret")
    development = {"REALTIME_MODE": "development"}

    assert load({**development, "REALTIME_JWT_SECRET": SECRET}).jwt_secret == SECRET
    assert load({**development, "REALTIME_JWT_PUBLIC_KEY": PEM}).jwt_algorithms == ["RS256"]


def test_a_given_setting_goes_before_the_environment():
    assert load({**PRODUCTION, "REALTIME_PORT": "1"}, port=2).port == 2


def test_an_empty_variable_is_as_good_as_none():
    assert load({**PRODUCTION, "REALTIME_PORT": ""}).port == 8081


def test_everything_that_is_wrong_is_reported_at_once():
    assert problems(
        REALTIME_MODE="staging",
        REALTIME_PORT="65536",
        REALTIME_PARTITIONS="0",
        REALTIME_NODE_ID="a.b",
        REALTIME_JWT_SECRET="short",
        REALTIME_LOG_JSON="perhaps",
        REALTIME_ALLOWED_ORIGINS="*",
    ) == [
        "REALTIME_MODE",
        "REALTIME_PORT",
        "REALTIME_NODE_ID",
        "REALTIME_PARTITIONS",
        "REALTIME_LOG_JSON",
        "REALTIME_JWT_SECRET",
        "REALTIME_ALLOWED_ORIGINS",
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REALTIME_PORT", "x"),
        ("REALTIME_PORT", "-1"),
        ("REALTIME_PARTITIONS", "257"),
        ("REALTIME_NODE_ID", "x" * 65),
        ("REALTIME_DEFAULT_PERMISSIONS", "{"),
        ("REALTIME_DEFAULT_PERMISSIONS", "[]"),
        ("REALTIME_HISTORY", "{"),
        ("REALTIME_HISTORY", "[]"),
        ("REALTIME_HISTORY", '{"#": 100}'),
        ("REALTIME_HISTORY", '{"#": {"messages": 100}}'),
        ("REALTIME_HISTORY", '{"#": {"seconds": 300}}'),
        ("REALTIME_HISTORY", '{"#": {"messages": "100", "seconds": 300}}'),
        ("REALTIME_HISTORY", '{"#": {"messages": -1, "seconds": 300}}'),
        ("REALTIME_HISTORY", '{"#": {"messages": 10001, "seconds": 300}}'),
        ("REALTIME_HISTORY", '{"#": {"messages": 100, "seconds": -1}}'),
        ("REALTIME_HISTORY", '{"#": {"messages": 100, "seconds": 86401}}'),
        ("REALTIME_HISTORY", '{"a..b": {"messages": 100, "seconds": 300}}'),
        ("REALTIME_HISTORY", '{"#.a": {"messages": 100, "seconds": 300}}'),
        ("REALTIME_MAX_SUBSCRIPTIONS", "0"),
        ("REALTIME_MAX_BINARY_BYTES", "1023"),
        ("REALTIME_MAX_BINARY_BYTES", "16777217"),
        ("REALTIME_JSON_PING_SECONDS", "-1"),
        ("REALTIME_MAILBOX_BYTES", "1.5"),
        ("REALTIME_LOG_LEVEL", "loud"),
        ("REALTIME_JWT_SECRET", SECRET[:31]),
        ("REALTIME_JWT_SECRET", "s" * 64),
        ("REALTIME_JWT_SECRET", "please-change-me-before-production"),
        ("REALTIME_JWT_LEEWAY_SECONDS", "11"),
        ("REALTIME_JWT_LEEWAY_SECONDS", "-1"),
        ("REALTIME_JWT_MAX_LIFE_SECONDS", "-1"),
        ("REALTIME_QUERY_TOKENS", "perhaps"),
        ("REALTIME_JWT_ALGORITHMS", "none"),
        ("REALTIME_JWT_ALGORITHMS", "HS256,RS256"),
        ("REALTIME_ALLOWED_ORIGINS", "https://a.example.com,*"),
        ("REALTIME_AMQP_URL", "amqps://gateway:x@rabbitmq/?no_verify_ssl=1"),
    ],
)
def test_a_wrong_value_is_named(variable, value):
    assert problems(**{variable: value}) == [variable]


def test_history_is_kept_for_five_minutes_unless_the_namespaces_say_otherwise():
    namespaces = {
        "chat.#": {"messages": 10_000, "seconds": 86_400},
        "off.#": {"messages": 0, "seconds": 0},
        "#": {"messages": 1, "seconds": 1},
    }

    found = load({**PRODUCTION, "REALTIME_HISTORY": json.dumps(namespaces)}).history

    assert load(PRODUCTION).history == HISTORY == {"#": {"messages": 100, "seconds": 300}}
    assert found == namespaces
    assert list(found) == list(namespaces)  # the first that meets a topic decides


def test_there_may_be_no_history_at_all():
    assert load({**PRODUCTION, "REALTIME_HISTORY": "{}"}).history == {}


def test_no_complaint_repeats_a_secret():
    with pytest.raises(WrongSettings) as caught:
        load({"REALTIME_JWT_SECRET": "hush"})
    assert "hush" not in str(caught.value)


# ---- variables that nothing reads ----------------------------------------------------------------


def test_an_unknown_variable_is_told_with_the_nearest_that_there_is():
    assert unknown(
        {
            "REALTIME_PORT": "1",
            "REALTIME_JWT_SECRET_FILE": "/run/secrets/jwt",
            "REALTIME_TOKEN": "of a command",
            "REALTIME_MAX_SUBSCRIPTION": "1",
            "REALTIME_JWT_SECRETFILE": "x",
            "REALTIME_XYZZY_PLUGH": "x",
            "PATH": "/bin",
        }
    ) == {
        "REALTIME_MAX_SUBSCRIPTION": "REALTIME_MAX_SUBSCRIPTIONS",
        "REALTIME_JWT_SECRETFILE": "REALTIME_JWT_SECRET_FILE",
        "REALTIME_XYZZY_PLUGH": "",
    }


# ---- values in files -----------------------------------------------------------------------------


def test_a_value_can_be_read_from_a_file_with_or_without_a_last_newline(tmp_path):
    (tmp_path / "issuer").write_text("https://files.example.com\n")
    environ = {name: PRODUCTION[name] for name in PRODUCTION if "ISSUER" not in name}

    found = load({**environ, "REALTIME_JWT_ISSUER_FILE": str(tmp_path / "issuer")})

    assert found.jwt_issuer == "https://files.example.com"


def test_a_value_and_a_file_are_one_too_many(tmp_path):
    (tmp_path / "port").write_text("1")

    assert problems(REALTIME_PORT="1", REALTIME_PORT_FILE=str(tmp_path / "port")) == [
        "REALTIME_PORT"
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff")

    assert problems(
        REALTIME_PORT_FILE=str(tmp_path / "missing"), REALTIME_HOST_FILE=str(tmp_path / "binary")
    ) == ["REALTIME_HOST_FILE", "REALTIME_PORT_FILE"]


def test_a_path_is_the_value_itself_and_cannot_be_given_in_a_file():
    pair = {"REALTIME_TLS_CERT_FILE": "/tls/tls.crt", "REALTIME_TLS_KEY_FILE": "/tls/tls.key"}

    found = load({**PRODUCTION, **pair})

    assert (found.tls_cert_file, found.tls_key_file) == ("/tls/tls.crt", "/tls/tls.key")
    assert set(unknown({**pair, "REALTIME_TLS_CERT_FILE_FILE": "x"})) == {
        "REALTIME_TLS_CERT_FILE_FILE"
    }
    assert load({**PRODUCTION, "REALTIME_TLS_CERT_FILE_FILE": "/missing"}).tls_cert_file == ""
    assert unknown({"REALTIME_TLS_CERT": "x"}) == {"REALTIME_TLS_CERT": "REALTIME_TLS_CERT_FILE"}
