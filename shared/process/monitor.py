"""aiomonitor on loopback, with questions of the service's own."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click
import structlog

from shared.settings import Settings
from shared.table import aligned, escaped

log = structlog.get_logger()

HOST = "127.0.0.1"
READ_SECONDS = 5.0
"""For the service's loop to come to it."""

DEFAULT_LIMIT, MAX_LIMIT = 50, 10_000


@dataclass(frozen=True)
class Inspection:
    """A question about a running process, answered with a table.

    No answer may hold a token (W7).
    """

    help: str
    heads: Sequence[str]
    rows: Callable[..., Iterable[Sequence[object]]]
    """Called in the service's loop, with the argument if there is one; a ValueError is told."""

    argument: str = ""
    """Its name; in brackets if it may be missing, and is None then."""


Inspections = Mapping[str, Inspection]
"""By the name of the command."""


@contextlib.contextmanager
def monitor(
    settings: Settings, loop: asyncio.AbstractEventLoop, inspections: Inspections
) -> Iterator[int | None]:
    """Open aiomonitor if ``REALTIME_AIOMONITOR`` asks for it; yield the port of its terminal.

    Raises:
        OSError: there are no free ports.
    """
    if not settings.aiomonitor:
        yield None
        return
    import aiomonitor  # noqa: PLC0415 - only who asks for it pays for it
    from aiomonitor.termui.commands import monitor_cli  # noqa: PLC0415

    console = settings.mode != "production"  # it runs whatever is typed
    terminal_port, web_port, console_port = _free_ports(3)
    for name, inspection in inspections.items():
        monitor_cli.add_command(_command(name, inspection, loop))
    try:
        with aiomonitor.Monitor(
            loop,
            host=HOST,
            termui_port=terminal_port,
            webui_port=web_port,
            console_port=console_port,
            console_enabled=console,
        ):
            log.info("aiomonitor", action="listen", terminal=terminal_port, web=web_port)
            yield terminal_port
    finally:
        for name in inspections:
            del monitor_cli.commands[name]


def _free_ports(count: int) -> list[int]:
    """Return ports that were free just now: aiomonitor waits for ever for one that is not."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in held]


def _command(name: str, inspection: Inspection, loop: asyncio.AbstractEventLoop) -> click.Command:
    """Return what aiomonitor runs in its own thread."""
    from aiomonitor.termui.commands import (  # noqa: PLC0415
        auto_command_done,
        custom_help_option,
    )

    def ask(_: click.Context, limit: int, **given: Any) -> None:
        async def read() -> list[Sequence[object]]:
            return list(islice(inspection.rows(*given.values()), limit + 1))

        reading = asyncio.run_coroutine_threadsafe(read(), loop)
        try:
            rows = reading.result(READ_SECONDS)
        except TimeoutError as error:
            reading.cancel()
            raise click.UsageError("The service's loop is busy.") from error
        except ValueError as error:
            raise click.UsageError(escaped(str(error))) from error
        cells = [[escaped(str(cell)) for cell in row] for row in rows[:limit]]
        click.echo(aligned(inspection.heads, cells))
        if len(rows) > limit:
            click.echo(f"There is more; see --limit, which was {limit}.")

    params: list[click.Parameter] = [
        click.Option(
            ["--limit"],
            type=click.IntRange(1, MAX_LIMIT),
            default=DEFAULT_LIMIT,
            show_default=True,
            help="So many lines.",
        )
    ]
    if inspection.argument:
        word = inspection.argument.strip("[]")
        params.append(
            click.Argument([word.lower()], metavar=word, required=word == inspection.argument)
        )
    command = click.Command(
        name,
        params=params,
        callback=click.pass_context(auto_command_done(ask)),
        help=inspection.help,
    )
    command.add_help_option = False
    with_help: click.Command = custom_help_option(command)
    return with_help
