"""WAV files for the tests, byte by byte."""

from __future__ import annotations

import struct

KSDATAFORMAT = bytes.fromhex("000000001000800000aa00389b71")  # the end of every sub-format GUID made from a tag


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def wav(
    audio: bytes,
    *,
    rate: int = 16000,
    channels: int = 1,
    tag: int = 1,
    bits: int = 16,
    extensible: bool = False,
    before: bytes = b"",
    after: bytes = b"",
    data_size: int | None = None,
    magic: bytes = b"RIFF",
) -> bytes:
    """A file with the chunks `before` and `after` around its data; `data_size` as the header claims it."""
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * block, block, bits)
    if extensible:
        fmt += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", tag) + KSDATAFORMAT
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + chunk(b"data", audio, data_size)
    if after:
        body += after
    elif len(audio) % 2:
        body = body[:-1]  # a last chunk is often not padded
    return magic + struct.pack("<I", len(body)) + body
