"""The gateway: where clients' sockets live.

    socket -> conversation.py -> performer.py -> commands.py -> uplink.py   -> broker
                                 core/session.py: what it leads to
    socket <- outbox.py       <- fanout.py, flushing.py      <- downlink.py <- broker
                              <- directs.py                  <-
                                     |
               core/subscriptions.py, core/connections.py: who wants it

answers.py collects what becomes of a command; receipts.py reports what was written here.
websocket.py lets a client in, if tokens.py believes it by a key of keys.py.
door.py counts sockets, as core/admission.py allows; tls.py has the certificate.
limits.py has what the settings allow; core/limits.py what a client may still ask; usage.py tells
the other gateways what users ask for.
membership.py keeps the node in the cluster.
core/gaps.py sees what the node has missed; recovery.py brings what a client has missed.
gathered.py holds what is on its way to many; compression.py agrees on who takes it compressed.
slow_readers.py looks after clients that do not read.
handover.py and unconfirmed.py hold direct messages until a client has them.
extensions.py asks workers for what the service does not do; worker.py is for clients that do it.

Nothing in core/ awaits. Nothing outside core/ decides.
"""
