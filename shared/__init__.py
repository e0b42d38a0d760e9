"""The ground that the three services stand on; it imports nothing of ours.

errors      what can go wrong, and what the client hears of it
settings    REALTIME_* variables as frozen values
contradictions, token_keys, public_keys, secrecy, loopback
            PURE: what is wrong with settings
topics      PURE: topic grammar, containment, the trie
messages    PURE: what clients say and hear, what services say to each other
partitions  PURE: which partition serves a name
recent      PURE: what was noted last, up to a bound
clock       the one place that reads the wall clock
development the secret that the services of one machine share while developing
cancellation  a trap of asyncio, and the way around it
broker      the port, and RabbitMQ and memory behind it
ownership   how one replica at a time serves a partition
process     start, ready, stop; health, metrics, logs
"""
