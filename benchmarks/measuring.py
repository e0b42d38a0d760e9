"""One measurement: clients speak for a while, and processes spend CPU on it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.clients import Clients, Message, Said
from benchmarks.outcomes import Figure
from benchmarks.processes import cpu_seconds
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
        clients.connect([*people, tongue.speaker(ports[0], 0)])
        yield clients


def by_process(found: Sequence[Run], deliveries: int = 1) -> str:
    """Return what so many deliveries cost each kind of process, CPU microseconds, as a text."""
    return ", ".join(
        f"{name} {Figure.of([one.cpu_us[name] * deliveries for one in found])}"
        for name in found[0].cpu_us
    )
