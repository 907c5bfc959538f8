"""How a command of the CLI ends when it cannot do what it was asked."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 - it reads as the outcome of a command, which is what it is
    """The command cannot go on; the message is one plain line for its user. Exit code 2."""
