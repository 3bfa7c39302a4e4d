"""G.711: the 256 values of mu-law and of A-law as 16-bit samples (ITU-T G.711, 11/88)."""

from __future__ import annotations


def _mulaw(code: int) -> int:
    code ^= 0xFF  # sent inverted, so that silence keeps the line's bits changing
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw(code: int) -> int:
    code ^= 0x55
    step, segment = (code & 0x0F) << 4, (code & 0x70) >> 4
    magnitude = step + 0x08 if segment == 0 else step + 0x108 << segment - 1
    return magnitude if code & 0x80 else -magnitude


MULAW: tuple[int, ...] = tuple(map(_mulaw, range(256)))
ALAW: tuple[int, ...] = tuple(map(_alaw, range(256)))
