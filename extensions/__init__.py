"""Extensions: commands that clients name with X- and your own code carries out (X1).

    extension.{type} -> worker.py -> a handler of yours -> the answers queue of the asking gateway
                                     handlers.py: what a handler is

docs/extensions.md shows how to write one and how to run it. A gateway's side of it is in
gateway/extensions.py and gateway/worker.py.
"""

from extensions.handlers import Ask, ExtensionError, extension

__all__ = ["Ask", "ExtensionError", "extension"]
