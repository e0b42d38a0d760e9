"""PURE: every message, as a value.

client      what clients send, checked
checks      what holds for the JSON of every client
frames      what clients get, as JSON bytes
binary      what clients send and get in the binary format
envelopes   what gateways tell owners
deliveries  what owners hand to nodes
extensions  what gateways and the workers of extensions tell each other
answers     what the gateway that asked hears of its command
news        what everybody hears of nodes and replicas
forms       what a payload is
records     what owners write down for those after them
version     how the releases of one cluster tell each other's envelopes apart
codec       envelopes to bytes and back, many to a message
"""
