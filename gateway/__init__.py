"""The gateway: where clients' sockets live.

    socket -> conversation.py -> core/session.py -> commands.py -> uplink.py   -> broker
    socket <- outbox.py       <- fanout.py                      <- downlink.py <- broker
                                     |
               core/subscriptions.py, core/connections.py: who wants it

websocket.py lets a client in; membership.py keeps the node in the cluster.

Nothing in core/ awaits. Nothing outside core/ decides.
"""
