"""Texts that are worth more memory than others."""

from __future__ import annotations

from msgspec.json import Encoder

_encode = Encoder().encode


class LargeText(str):
    """A text that is kept for the next who reads it, and with it what it looks like as JSON, once somebody asked."""

    __slots__ = ("_quoted",)

    _quoted: bytes

    def quoted(self) -> bytes:
        """Return the text as a JSON string."""
        try:
            return self._quoted
        except AttributeError:
            self._quoted = _encode(str(self))
            return self._quoted
