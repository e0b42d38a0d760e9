"""One measurement: clients speak for a while, and processes spend CPU on it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.clients import Clients, Connected, Message, Person, Said
from benchmarks.outcomes import Figure
from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.systems import System

RUNS = 3
WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Run:
    """What came of one run."""

    said: Said
    cpu_us: Mapping[str, float]
    """CPU microseconds per delivery, by what the processes are; those alike are added up."""

    clients_share: float
    """Of one core, by the clients."""

    @property
    def all_us(self) -> float:
        """CPU microseconds per delivery, of all processes."""
        return sum(self.cpu_us.values())


class Incomplete(Exception):
    """Not all was delivered that was to be measured."""


def spent(system: System) -> dict[str, float]:
    """Return the CPU seconds that processes have used, by what they are."""
    return {name: sum(map(cpu_seconds, pids)) for name, pids in system.processes.items()}


def resident(system: System) -> dict[str, float]:
    """Return the kB of memory that processes hold, by what they are."""
    return {name: sum(map(resident_bytes, pids)) / 1e3 for name, pids in system.processes.items()}


def connect(clients: Clients, people: Iterable[Person], *, concurrency: int = 100) -> Connected:
    """Have all connect, so many at a time.

    Raises:
        Incomplete: somebody could not.
    """
    connected = clients.connect(people, concurrency=concurrency)
    if connected.failed:
        raise Incomplete(f"{connected.failed} could not connect: {connected.reason}")
    return connected


def measure(
    system: System,
    clients: Clients,
    messages: Sequence[Message],
    *,
    seconds: float,
    window: int | None = None,
    rate: float | None = None,
    awake: bool = False,
) -> Run:
    """Have clients speak, and see what it costs.

    Raises:
        Incomplete: something was not delivered, or twice.
    """
    before = spent(system)
    said = clients.say(messages, seconds=seconds, window=window, rate=rate, awake=awake)
    after = spent(system)
    if said.missing or said.surplus or said.closed or not said.deliveries:
        raise Incomplete(f"{system.name}: {said}")
    cost = {name: (after[name] - before[name]) / said.deliveries * 1e6 for name in after}
    return Run(said, cost, said.cpu_seconds / said.seconds)


def runs(
    system: System,
    clients: Clients,
    messages: Sequence[Message],
    *,
    seconds: float,
    window: int | None = None,
    rate: float | None = None,
    times: int = RUNS,
) -> list[Run]:
    """Warm up, then measure several times."""

    def once(seconds: float) -> Run:
        return measure(system, clients, messages, seconds=seconds, window=window, rate=rate)

    once(WARM_UP_SECONDS)
    return [once(seconds) for _ in range(times)]


@contextmanager
def crowd(system: System, listeners: int, topic: str = "bench") -> Iterator[Clients]:
    """Have so many clients listen to a topic, spread over the nodes, and one speaker, the last."""
    tongue, ports = system.tongue, system.ports
    with Clients(answer=tongue.answer) as clients:
        people = [tongue.listener(ports[n % len(ports)], n, topic) for n in range(listeners)]
        connect(clients, [*people, tongue.speaker(ports[0], 0)])
        yield clients


def by_process(found: Sequence[Run], deliveries: int = 1) -> str:
    """Return what so many deliveries cost each kind of process, CPU microseconds, as a text."""
    return ", ".join(
        f"{name} {Figure.of([one.cpu_us[name] * deliveries for one in found])}"
        for name in found[0].cpu_us
    )


LOAD_COLUMNS = [
    "system",
    "outstanding",
    "CPU µs per message",
    "of these",
    "messages per s",
    "p50 ms",
    "p99 ms",
]


def load_line(
    system: System, window: int, found: Sequence[Run], deliveries: int = 1
) -> list[str | Figure]:
    """Return a line under ``LOAD_COLUMNS``: what a message costs that is delivered so often."""
    return [
        system.name,
        str(window),
        Figure.of([one.all_us * deliveries for one in found]),
        by_process(found, deliveries),
        Figure.of([one.said.messages / one.said.seconds for one in found]),
        Figure.of([one.said.delivery_ms.p50 for one in found]),
        Figure.of([one.said.delivery_ms.p99 for one in found]),
    ]
