"""What log lines look like, and that operators find each of their actions in the docs."""

import ast
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest
import structlog

from shared.errors import ServiceError
from shared.process import logs
from shared.settings import load
from shared.table import escaped

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("gateway", "router", "presence_service", "shared", "extensions", "standalone")
METHODS = {"debug", "info", "warning", "error", "exception", "critical"}

HOSTILE = "mallory\r\n2026-01-01 [info] forged\x1b[2J\x9b\u202e\ud800"


# ---- the source ----------------------------------------------------------------------------------


def calls(source: str) -> Iterator[ast.Call]:
    """Yield the log calls of a module."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=method)):
                if method in METHODS:
                    yield node


def action(call: ast.Call) -> str | None:
    """Return the action of a log call, if it is written there."""
    for keyword in call.keywords:
        match keyword:
            case ast.keyword(arg="action", value=ast.Constant(value=str(name))):
                return name
    return None


def event_is_literal(call: ast.Call) -> bool:
    match call.args:
        case [ast.Constant(value=str())]:
            return True
    return False


def source_calls() -> list[tuple[str, ast.Call]]:
    return [
        (f"{file.relative_to(CHECKOUT)}:{call.lineno}", call)
        for package in PACKAGES
        for file in (CHECKOUT / package).rglob("*.py")
        for call in calls(file.read_text())
    ]


def documented() -> list[str]:
    """Return the actions in the table of docs/operations.md."""
    page = (CHECKOUT / "docs/operations.md").read_text()
    section = page.split("\n### Logs\n")[1].split("\n### ")[0]
    return re.findall(r"^\| `([a-z ]+)` \|", section, re.MULTILINE)


def test_the_calls_are_found():
    assert len(source_calls()) > 40


def test_each_line_has_a_literal_event_and_action():
    assert [at for at, call in source_calls() if action(call) is None] == []
    assert [at for at, call in source_calls() if not event_is_literal(call)] == []


def test_the_docs_tell_each_action_and_no_other():
    used = {str(action(call)) for _, call in source_calls()} | {logs.LIBRARY}
    assert sorted(documented()) == sorted(used)


@pytest.mark.parametrize(
    "source",
    [
        'log.info("ready")',
        'log.info("ready", action=f"re{1}")',
        "log.info('ready', action=name)",
        'log.info(f"ready {1}", action="serve")',
        'log.info("ready %s", 1, action="serve")',
    ],
)
def test_a_breach_of_the_rule_is_seen(source):
    [call] = calls(source)
    assert action(call) is None or not event_is_literal(call)


# ---- the lines -----------------------------------------------------------------------------------


both_forms = pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])


def written(say: Callable[[], None], *, as_json: bool) -> list[str]:
    """Return the lines that are logged in one form; afterwards log as before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    settings = load({}, mode="development", node_id="node-1", log_json=as_json)
    try:
        with redirect_stderr(StringIO()) as stderr:
            logs.configure(settings, "gateway")
            say()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    return stderr.getvalue().removesuffix("\n").split("\n")


@both_forms
def test_each_line_says_which_service_and_which_node_and_what_was_done(as_json):
    [line] = written(
        lambda: structlog.get_logger().info("ready", action="serve", partition=3), as_json=as_json
    )
    if as_json:
        told = json.loads(line)
        assert told.pop("timestamp")
        assert told == {
            "event": "ready",
            "action": "serve",
            "level": "info",
            "service": "gateway",
            "node": "node-1",
            "partition": 3,
        }
    else:
        assert "ready" in line
        for part in ("action=serve", "service=gateway", "node=node-1", "partition=3"):
            assert part in line


@both_forms
def test_what_a_client_has_named_stays_on_its_line_and_steers_nothing(as_json):
    def say() -> None:
        structlog.get_logger().info("closed", action="close", user=HOSTILE, ids=[HOSTILE])

    [line] = written(say, as_json=as_json)
    assert line.isprintable()
    if as_json:
        assert json.loads(line)["user"] == HOSTILE


@both_forms
def test_a_librarys_line_has_the_same_form(as_json):
    [line] = written(
        lambda: logging.getLogger("aiohttp.server").warning("bad %s", HOSTILE), as_json=as_json
    )
    assert line.isprintable()
    if as_json:
        told = json.loads(line)
        assert told["event"] == f"bad {HOSTILE}"
        assert (told["action"], told["logger"]) == ("library", "aiohttp.server")
        assert (told["service"], told["node"]) == ("gateway", "node-1")
    else:
        assert "action=library" in line
        assert "aiohttp.server" in line


@both_forms
@pytest.mark.parametrize("of_a_library", [True, False])
def test_an_exception_cannot_forge_a_line(as_json, of_a_library):
    def say() -> None:
        try:
            int(HOSTILE)
        except ValueError:
            if of_a_library:
                logging.getLogger("asyncio").exception("failed")
            else:
                structlog.get_logger().exception("fault", action="incident")

    told = written(say, as_json=as_json)
    assert all(line.isprintable() for line in told)
    if as_json:
        [line] = told
        assert "ValueError: invalid" in json.loads(line)["exception"]
    else:
        assert "  | ValueError: invalid" in "\n".join(told)
        assert all(line.startswith("  | ") for line in told[1:])


def test_an_exceptions_own_line_breaks_are_set_in_too():
    def say() -> None:
        try:
            raise_hostile()
        except ServiceError:
            structlog.get_logger().exception("fault", action="incident")

    told = written(say, as_json=False)
    assert all(line.isprintable() and line.startswith("  | ") for line in told[1:])
    assert any("forged" in line for line in told)


def raise_hostile() -> None:
    raise ServiceError(HOSTILE)


def test_libraries_are_not_heard_below_a_warning():
    assert written(lambda: logging.getLogger("asyncio").info("slow"), as_json=True) == [""]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain and \u00e9", "plain and \u00e9"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\u202eevil", r"\u202eevil"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_cannot_be_printed_is_spelt_out(text, shown):
    assert escaped(text) == shown
