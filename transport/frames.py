"""WebSocket frames of the two kinds that nearly all are: audio in, text out. No I/O.

`websockets` reads any frame, by a generator that is resumed for each of its fields; that takes five times as long.
"""

from __future__ import annotations

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # in C where it could be compiled

_AUDIO = 0x82  # the last, and only, fragment of a binary message; not compressed
_TEXT = 0x81
_MASKED = 0x80
_SHORT, _LONG = 126, 127  # sizes from here on are told by the next two bytes, or by the next eight


def audio_message(data: bytes, begin: int, most: int) -> tuple[bytes, int] | None:
    """The binary message that begins there, and where it ends; None: something else does, or not all of it is here.

    Args:
        data: what came of a client, so that it is masked.
        most: bytes of the longest message there may be; one of 64 KiB or more is something else in any case.
    """
    if len(data) < begin + 8 or data[begin] != _AUDIO:
        return None
    size, start = data[begin + 1] - _MASKED, begin + 6
    if size == _SHORT:
        size, start = data[begin + 2] << 8 | data[begin + 3], begin + 8
    end = start + size
    if size < 0 or data[begin + 1] == _MASKED | _LONG or size > most or len(data) < end:
        return None
    return bytes(apply_mask(data[start:end], data[start - 4 : start])), end


def text_message(text: bytes) -> bytes:
    """A text message in one frame, as a server sends it."""
    size = len(text)
    if size < _SHORT:
        return bytes((_TEXT, size)) + text
    if size < 1 << 16:
        return bytes((_TEXT, _SHORT, size >> 8, size & 0xFF)) + text
    return bytes((_TEXT, _LONG)) + size.to_bytes(8, "big") + text
