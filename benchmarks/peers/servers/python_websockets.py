"""websockets: /ROOM listens to a room; a text "ROOM TEXT" is said to it."""

import os
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

rooms = defaultdict[str, set[ServerConnection]](set)


async def listen(connection: ServerConnection) -> None:
    """Keep a connection in its room, and say what it says."""
    assert connection.request is not None  # noqa: S101 - the handshake is over
    name = connection.request.path.removeprefix("/")
    rooms[name].add(connection)
    try:
        async for message in connection:
            room, _, text = str(message).partition(" ")
            broadcast(rooms[room], text)
    finally:
        rooms[name].discard(connection)


async def main() -> None:
    """Serve on PORT until it is told to stop."""
    async with serve(listen, "127.0.0.1", int(os.environ["PORT"]), compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
