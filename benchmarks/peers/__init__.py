"""What a user would pick instead of this service, each with the smallest honest server.

peer.py      what a peer is; where it is installed; how nodes run
node.py      Socket.IO, ws
python.py    python-socketio, websockets
debian.py    nchan; Redis, which Socket.IO needs between several nodes
go.py        NATS, Centrifugo
tongues.py   how clients of each speak
servers/     their programs and configurations
"""

from benchmarks.peers.debian import NchanOnNginx
from benchmarks.peers.go import CentrifugoServer, NatsServer
from benchmarks.peers.node import SocketIOOnNode, Ws
from benchmarks.peers.peer import NotInstalled, Peer
from benchmarks.peers.python import SocketIOInPython, Websockets

__all__ = ["PEERS", "NotInstalled", "Peer"]

PEERS: tuple[Peer, ...] = (
    Ws(),
    Websockets(),
    NchanOnNginx(),
    NatsServer(),
    CentrifugoServer(),
    SocketIOOnNode(),
    SocketIOInPython(),
)
