"""How clients of the peers speak: what they send, and when they are ready."""

import json

from benchmarks.clients import Person

TOPIC = "bench"
"""What is spoken on."""


class SocketIO:
    """Socket.IO over WebSocket alone: an opening, a connect, and a join that is acknowledged."""

    answer = ("2", "3")  # Engine.IO's own heartbeat
    _path = "/socket.io/?EIO=4&transport=websocket"

    def listener(self, port: int, number: int, topic: str) -> Person:
        """See ``Tongue``."""
        join = "420" + json.dumps(["join", topic])
        return Person(port, self._path, ready=3, hellos=((1, "40"), (2, join)))

    def speaker(self, port: int, number: int) -> Person:
        """See ``Tongue``."""
        return Person(port, self._path, ready=2, hellos=((1, "40"),))

    def broadcast(self, topic: str, text: str) -> str:
        """See ``Tongue``."""
        return "42" + json.dumps(["say", topic, text])


class Rooms:
    """A server of our own on a bare library: the path is the room, a text begins with its room."""

    answer = None

    def listener(self, port: int, number: int, topic: str) -> Person:
        """See ``Tongue``."""
        return Person(port, f"/{topic}")

    def speaker(self, port: int, number: int) -> Person:
        """See ``Tongue``."""
        return Person(port, "/")

    def broadcast(self, topic: str, text: str) -> str:
        """See ``Tongue``."""
        return f"{topic} {text}"


class Nchan:
    """nchan: the path is the room, for speakers too, so all speak on one topic."""

    answer = None

    def listener(self, port: int, number: int, topic: str) -> Person:
        """See ``Tongue``."""
        return Person(port, f"/listen/{topic}")

    def speaker(self, port: int, number: int) -> Person:
        """See ``Tongue``."""
        return Person(port, f"/say/{TOPIC}")

    def broadcast(self, topic: str, text: str) -> str:
        """See ``Tongue``.

        Raises:
            ValueError: speakers speak on another topic.
        """
        if topic != TOPIC:
            raise ValueError(f"Speakers speak on {TOPIC!r} only")
        return text


class Nats:
    """NATS's own protocol, line by line, in WebSocket messages."""

    answer = ("PING\r\n", "PONG\r\n")
    _connect = 'CONNECT {"verbose":false,"pedantic":false}\r\n'

    def listener(self, port: int, number: int, topic: str) -> Person:
        """See ``Tongue``."""
        return self._person(port, f"SUB {topic} 1\r\n")

    def speaker(self, port: int, number: int) -> Person:
        """See ``Tongue``."""
        return self._person(port)

    def _person(self, port: int, subscribe: str = "") -> Person:
        # The server's INFO comes first; its PONG says that all before the PING is done.
        return Person(port, "/", ready=2, hellos=((1, f"{self._connect}{subscribe}PING\r\n"),))

    def broadcast(self, topic: str, text: str) -> str:
        """See ``Tongue``."""
        return f"PUB {topic} {len(text.encode())}\r\n{text}\r\n"


class Centrifugo:
    """Centrifugo's JSON protocol: numbered commands, each with a reply."""

    answer = ("{}", "{}")
    _path = "/connection/websocket"
    _connect = (0, '{"id":1,"connect":{}}')

    def listener(self, port: int, number: int, topic: str) -> Person:
        """See ``Tongue``."""
        subscribe = json.dumps({"id": 2, "subscribe": {"channel": topic}})
        return Person(port, self._path, ready=2, hellos=(self._connect, (1, subscribe)))

    def speaker(self, port: int, number: int) -> Person:
        """See ``Tongue``."""
        return Person(port, self._path, ready=1, hellos=(self._connect,))

    def broadcast(self, topic: str, text: str) -> str:
        """See ``Tongue``."""
        return json.dumps({"id": 3, "publish": {"channel": topic, "data": text}})
