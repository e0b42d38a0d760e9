"""python-socketio: who joins a room hears what is said to it. With BROKER_URL, one of several."""

import os

import socketio
import uvloop
from aiohttp import web


async def application() -> web.Application:
    """Return what serves Socket.IO's clients."""
    url = os.environ.get("BROKER_URL")
    manager = socketio.AsyncAioPikaManager(url) if url else None
    io = socketio.AsyncServer(
        async_mode="aiohttp", client_manager=manager, transports=["websocket"]
    )

    async def join(connection: str, room: str) -> None:
        await io.enter_room(connection, room)

    async def say(_connection: str, room: str, text: str) -> None:
        await io.emit("said", text, room=room)

    io.on("join", join)
    io.on("say", say)
    served = web.Application()
    io.attach(served)
    return served


if __name__ == "__main__":
    port = int(os.environ["PORT"])
    web.run_app(application(), host="127.0.0.1", port=port, loop=uvloop.new_event_loop())
