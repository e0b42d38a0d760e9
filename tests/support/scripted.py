"""A WebSocket server that says and hears exactly what a test wants, byte by byte."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
SECONDS = 20.0


def frame(payload: bytes, *, opcode: int = TEXT, last: bool = True) -> bytes:
    first = bytes([0x80 * last | opcode])
    if len(payload) < 126:
        return first + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return first + b"\x7e" + len(payload).to_bytes(2, "big") + payload
    return first + b"\x7f" + len(payload).to_bytes(8, "big") + payload


class Peer:
    """One accepted connection; all that is waited for has a deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, some: bytes) -> None:
        self._connection.sendall(some)

    def request(self) -> bytes:
        read = b""
        while not read.endswith(b"\r\n\r\n"):
            read += self.exactly(1)
        return read

    def hear(self) -> tuple[int, bytes]:
        """Return the opcode and text of the next short frame, whose key must be zeros."""
        first, second = self.exactly(2)
        assert second & 0x80, "clients mask"
        assert self.exactly(4) == bytes(4)
        return first & 15, self.exactly(second & 0x7F)

    def wait_for_end(self) -> None:
        while self._connection.recv(1 << 16):
            pass

    def exactly(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            if not (some := self._connection.recv(count - len(read))):
                raise ConnectionError("The client has gone")
            read += some
        return read


@contextmanager
def serving(script: Callable[[Peer], None]) -> Iterator[int]:
    """Play a script to the first that connects; give the port. What it raises fails the test."""
    failures: list[BaseException] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(SECONDS)

    def play() -> None:
        try:
            connection, _ = server.accept()
            with connection:
                script(Peer(connection))
        except BaseException as error:  # handed to the test
            failures.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        thread.join(SECONDS)
        server.close()
    assert failures == []
