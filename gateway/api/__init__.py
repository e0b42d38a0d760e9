"""The HTTP API for back ends, under ``/api/v1``.

    request -> server.py -> endpoints.py: which method -> backend.py -> uplink, answers

structs.py holds what goes in and out; openapi.py describes it all, from the same types.
"""
