"""``realtime check-config`` without RabbitMQ: standalone/check_config.py."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shared.settings import HISTORY, KNOWN, load
from standalone.check_config import effective, is_loopback, read_env_file, unwise
from standalone.command_line import commands
from tests.support.certificates import Authority

SECRET = "correct-horse-battery-staple-correct"
PRODUCTION = {
    "REALTIME_JWT_SECRET": SECRET,
    "REALTIME_JWT_ISSUER": "https://id.example.com",
    "REALTIME_ALLOWED_ORIGINS": "https://app.example.com",
    "REALTIME_AMQP_URL": "amqps://gateway:tr0ub4dor@rabbitmq.example.com/realtime",
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be set but by the test."""
    for name in [one for one in os.environ if one.startswith("REALTIME_")]:
        monkeypatch.delenv(name)


def check(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(commands, ["check-config", *arguments], env=environ)


def wrong(result: Result) -> list[str]:
    """The variables that are complained of."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Wrong: ")]
    return [line.removeprefix("Wrong: ").partition(":")[0] for line in lines]


def warned(result: Result) -> list[str]:
    lines = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    return [line.removeprefix("Warning: ").partition(":")[0] for line in lines]


def test_good_settings_are_shown_as_they_hold_and_end_with_status_0():
    result = check(**PRODUCTION, REALTIME_PORT="9000", REALTIME_NODE_ID="n1")
    shown = dict(line.split("=", 1) for line in result.stdout.splitlines())

    assert result.exit_code == 0
    assert result.stderr == ""
    assert set(shown) == set(KNOWN)
    assert shown["REALTIME_PORT"] == "9000"
    assert shown["REALTIME_HOST"] == "0.0.0.0"  # noqa: S104
    assert shown["REALTIME_HISTORY"] == '{"#": {"messages": 100, "seconds": 300}}'
    assert shown["REALTIME_LOG_JSON"] == "false"


def test_tracing_needs_what_makes_spans(monkeypatch: pytest.MonkeyPatch):
    assert check(**PRODUCTION, REALTIME_TRACING="true").exit_code == 0
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert wrong(check(**PRODUCTION, REALTIME_TRACING="true")) == ["REALTIME_TRACING"]
    assert check(**PRODUCTION).exit_code == 0


def test_no_secret_is_shown_not_even_in_part():
    keys = "api-key-one-0123456789-0123456789,api-key-two-0123456789-0123456789"
    result = check(**PRODUCTION, REALTIME_API_KEYS=keys)
    shown = dict(line.split("=", 1) for line in result.stdout.splitlines())

    assert shown["REALTIME_JWT_SECRET"] == shown["REALTIME_API_KEYS"] == "***"
    assert shown["REALTIME_AMQP_URL"] == "amqps://gateway:***@rabbitmq.example.com/realtime"
    for part in ("horse", "tr0ub", "one-0123", "two-0123"):
        assert part not in result.output


@pytest.mark.parametrize(
    "url",
    [
        "amqp://bob:12#34@rabbitmq/",
        "amqp://bob:12/34@rabbitmq/",
        "amqp://bob:12?34@rabbitmq/",
        "amqp://bob:12@34@rabbitmq/",
        "amqp://bob:1@2:12#34@rabbitmq/",
        "bob:1234@rabbitmq",
        "1234",
    ],
)
def test_of_a_url_in_which_the_password_cannot_be_told_apart_nothing_is_shown(url):
    shown = dict(effective(load({**PRODUCTION, "REALTIME_AMQP_URL": url})))

    assert shown["REALTIME_AMQP_URL"] == "***"


def test_everything_that_is_wrong_is_told_at_once_and_ends_with_status_2(tmp_path: Path):
    result = check(
        REALTIME_PORT="x",
        REALTIME_JWT_SECRET_FILE=str(tmp_path / "missing"),
        REALTIME_PROT="1",
    )

    assert result.exit_code == 2
    assert result.stdout == ""
    assert set(wrong(result)) == {
        "REALTIME_PORT",
        "REALTIME_JWT_SECRET_FILE",
        "REALTIME_JWT_SECRET",
        "REALTIME_JWT_ISSUER",
        "REALTIME_ALLOWED_ORIGINS",
    }
    assert warned(result) == ["REALTIME_PROT"]


def test_a_variable_that_nothing_reads_is_a_warning_with_the_nearest():
    result = check(**PRODUCTION, REALTIME_LOGLEVEL="debug", REALTIME_XYZZY="1")

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Warning: REALTIME_LOGLEVEL: nothing reads it; did you mean REALTIME_LOG_LEVEL?",
        "Warning: REALTIME_XYZZY: nothing reads it",
    ]


def test_a_certificate_is_read_and_until_when_it_is_valid_is_said(tmp_path: Path):
    cert_file, key_file = Authority(tmp_path).issue("tls", "localhost")
    pair = {"REALTIME_TLS_CERT_FILE": str(cert_file), "REALTIME_TLS_KEY_FILE": str(key_file)}

    result = check(**PRODUCTION, **pair)

    assert result.exit_code == 0
    assert result.stderr.startswith("Clients come by wss://, with a certificate until 20")


def test_a_certificate_that_cannot_be_used_is_wrong_for_a_gateway_alone(tmp_path: Path):
    cert_file, key_file = Authority(tmp_path).issue("tls", "localhost", lasts=timedelta(hours=-1))
    pair = {"REALTIME_TLS_CERT_FILE": str(cert_file), "REALTIME_TLS_KEY_FILE": str(key_file)}

    assert wrong(check(**PRODUCTION, **pair)) == ["REALTIME_TLS_CERT_FILE"]
    assert check("--service", "router", **PRODUCTION, **pair).exit_code == 0


# ---- a file of variables -------------------------------------------------------------------------


def test_a_file_of_variables_goes_before_the_environment(tmp_path: Path):
    file = tmp_path / "gateway.env"
    lines = [f"{name}={value}" for name, value in PRODUCTION.items()]
    file.write_text("\n".join(["# a comment", "", *lines, "REALTIME_PORT=9001"]))

    result = check("--env-file", str(file), REALTIME_PORT="9000")

    assert result.exit_code == 0
    assert "REALTIME_PORT=9001\n" in result.stdout


def test_a_line_that_is_no_variable_is_told_by_its_number_alone(tmp_path: Path):
    file = tmp_path / "gateway.env"
    file.write_text(f"REALTIME_PORT=1\nexport REALTIME_JWT_SECRET={SECRET}\nhush\n")

    result = check("--env-file", str(file), **PRODUCTION)

    assert result.exit_code == 2
    assert wrong(result) == [
        "line 2 of the file is not NAME=value",
        "line 3 of the file is not NAME=value",
    ]
    assert "hush" not in result.output
    assert "horse" not in result.output


def test_quotes_and_equals_signs_belong_to_the_value():
    assert read_env_file("A='x=y'\nB=\n") == ({"A": "'x=y'", "B": ""}, [])


def test_the_example_is_such_a_file():
    example = (Path(__file__).parents[2] / ".env.example").read_text()

    values, problems = read_env_file(example.replace("#REALTIME_", "REALTIME_"))

    assert set(values) == set(KNOWN)
    assert problems == []


# ---- what is lawful, but unwise ------------------------------------------------------------------


@pytest.mark.parametrize(
    "environ",
    [
        {"REALTIME_MODE": "development", "REALTIME_HOST": "0.0.0.0"},  # noqa: S104
        {"REALTIME_AIOMONITOR": "true"},
        {"REALTIME_DRAIN_SECONDS": "301"},
        {"REALTIME_AMQP_URL": "amqp://guest:guest@localhost/"},
        {"REALTIME_AMQP_URL": "amqp://gateway:secret@rabbitmq.example.com/"},
        {"REALTIME_ALLOWED_ORIGINS": "https://a.example.com,http://b.example.com"},
        {"REALTIME_LOG_LEVEL": "debug"},
        {"REALTIME_HISTORY": json.dumps({"#": HISTORY["#"], "a": HISTORY["#"]})},
    ],
    ids=" ".join,
)
def test_what_is_unwise_is_a_warning(environ):
    [line] = unwise(load({**PRODUCTION, **environ}))

    assert line.partition(":")[0] == next(iter(environ))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"REALTIME_MODE": "development", "REALTIME_AIOMONITOR": "true"},
        {"REALTIME_MODE": "development", "REALTIME_HOST": "127.0.0.2"},
        {"REALTIME_DRAIN_SECONDS": "300"},
        {"REALTIME_AMQP_URL": "amqp://gateway:secret@localhost/"},  # pragma: allowlist secret
        {"REALTIME_AMQP_URL": "no URL at all: ]["},
    ],
    ids=str,
)
def test_what_is_wise_is_none(environ):
    assert unwise(load({**PRODUCTION, **environ})) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_loopback_is_this_machine_alone(host):
    assert is_loopback(host)
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "rabbitmq")))  # noqa: S104
