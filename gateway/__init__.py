"""The gateway: where clients' sockets live.

    websocket.py -> conversation.py -> core/session.py -> commands.py -> uplink.py -> broker
    socket <- outbox.py <- fanout.py <- downlink.py <- broker
                                  |
              core/subscriptions.py, core/connections.py: who wants it

Nothing in core/ awaits. Nothing outside core/ decides.
"""
