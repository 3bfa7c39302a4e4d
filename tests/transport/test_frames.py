"""Frames that are read and written by hand are those that the library reads and writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from transport.frames import audio_message, text_message

MOST = 40_000
SIZES = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 640, 3200, 39_999, MOST]))


def sent(payload: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return Frame(opcode, payload, fin).serialize(mask=True)


@given(st.lists(SIZES, min_size=1, max_size=5))
def test_messages_of_audio_are_read_one_after_another(sizes: list[int]) -> None:
    messages = [bytes(number % 251 for number in range(size)) for size in sizes]
    data, begin, read = b"".join(map(sent, messages)), 0, []
    while (message := audio_message(data, begin, MOST)) is not None:
        audio, begin = message
        read.append(audio)
    if all(len(message) >= 2 for message in messages):
        assert (read, begin) == (messages, len(data))
    assert read == messages[: len(read)]


@given(SIZES, st.data())
def test_a_message_that_is_not_all_here_is_none(size: int, data: st.DataObject) -> None:
    frame = sent(bytes(size))
    assert audio_message(frame[: data.draw(st.integers(0, len(frame) - 1))], 0, MOST) is None


@pytest.mark.parametrize(
    "frame",
    [
        sent(b"text", Opcode.TEXT),
        sent(b"part", fin=False),
        sent(b"rest", Opcode.CONT),
        sent(b"ping", Opcode.PING),
        sent(b"\x03\xe8", Opcode.CLOSE),
        b"\xc2" + sent(b"packed")[1:],
        Frame(Opcode.BINARY, b"not masked").serialize(mask=False),
        Frame(Opcode.BINARY, bytes(300)).serialize(mask=False),
        sent(bytes(MOST + 1)),
        sent(bytes(1 << 16)),
    ],
    ids=[
        "text",
        "piece",
        "rest",
        "ping",
        "close",
        "packed",
        "not masked",
        "not masked, longer",
        "too big",
        "of eight bytes' size",
    ],
)
def test_whatever_else_there_is_is_left_to_the_library(frame: bytes) -> None:
    assert audio_message(frame, 0, MOST) is None
    assert audio_message(sent(b"audio") + frame, 0, MOST) == (b"audio", len(sent(b"audio")))


@given(st.one_of(SIZES, st.sampled_from([65_535, 65_536, 70_000])))
def test_a_text_is_written_as_the_library_writes_it(size: int) -> None:
    assert text_message(b"x" * size) == Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
