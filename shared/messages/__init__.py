"""PURE: every message, as a value.

client      what clients send, checked
frames      what clients get, as JSON bytes
envelopes   what the services say to each other
codec       envelopes to bytes and back, many to a message
"""
