"""Chaos: faults are injected into a cluster under load, and a pure checker judges what was seen.

    what happened                      what to make of it (PURE)
    history.py    facts with a time    reading.py    put together by command, connection, client
    recorder.py   writes them down     checker.py    every promise broken: losses.py, order.py,
    link.py       one WebSocket                      phantoms.py, stuck.py
    clients.py    those who listen     figures.py    what is worth a number
    publishers.py those who send       story.py      histories told by hand, to check the checker
    positions.py  where they were
    cast.py       all of them

    what is done to it                 a whole run
    world.py      the cluster          scenario.py   load, faults, quiet, verdict
    broker.py     its RabbitMQ         report.py     the verdict for people
    broker_cluster.py  three nodes of it
    network.py    the links between them
    shapes.py     which are cut (PURE)
    proxy.py      its wires
    faults.py     every trouble        __main__.py   ``python -m tests.chaos --seed 1 --minutes 5``
    sabotage.py   a broken promise     test_chaos.py a few minutes of it, with fixed seeds
                                       test_faults_disturb.py  that no fault does nothing

What is PURE awaits nothing, reads no clock and opens no socket.
"""
