"""Formats, G.711, WAV headers and the files they come from."""

from __future__ import annotations

import hashlib
import struct
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.errors import AudioProcessingFailed, InvalidAudioFormat, SpeechError
from tests.transport.wavs import chunk, wav
from transport.audio.containers import recognise
from transport.audio.decoder import Decoder
from transport.audio.formats import AudioFormat, DeclaredFormat, Encoding
from transport.audio.g711 import ALAW, MULAW
from transport.audio.stream import AudioStream
from transport.audio.wav_file import UnreadableAudio, WavFile, read_wav

PCM = struct.pack("<6h", 1, -2, 300, -400, 32767, -32768)


def heard(*messages: bytes, declared: DeclaredFormat | None = None) -> tuple[AudioFormat | None, bytes]:
    stream = AudioStream(declared)
    pcm = b"".join(stream.feed(message) for message in messages) + stream.end()
    return stream.format, pcm


# ---- G.711

# SHA-256 of `audioop.ulaw2lin` and `audioop.alaw2lin` (CPython 3.11) over bytes 0 to 255, 16 bits.
ULAW_SHA = "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827"
ALAW_SHA = "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174"


@pytest.mark.parametrize(("table", "digest"), [(MULAW, ULAW_SHA), (ALAW, ALAW_SHA)])
def test_the_tables_are_those_of_g711(table: tuple[int, ...], digest: str) -> None:
    assert hashlib.sha256(struct.pack("<256h", *table)).hexdigest() == digest


if sys.version_info < (3, 13):  # audioop left the standard library then

    def test_the_tables_are_equal_to_audioop() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import audioop

        every = bytes(range(256))
        assert struct.pack("<256h", *MULAW) == audioop.ulaw2lin(every, 2)
        assert struct.pack("<256h", *ALAW) == audioop.alaw2lin(every, 2)


# ---- decoding


def test_pcm16_mono_passes_through_without_a_copy() -> None:
    assert Decoder(AudioFormat()).feed(PCM) is PCM


def test_two_channels_are_averaged_without_overflow() -> None:
    stereo = struct.pack("<8h", 100, 200, -3, 0, 32767, 32767, -32768, -32768)

    assert Decoder(AudioFormat(channels=2)).feed(stereo) == struct.pack("<4h", 150, -2, 32767, -32768)


@pytest.mark.parametrize(("encoding", "table"), [(Encoding.MULAW, MULAW), (Encoding.ALAW, ALAW)])
def test_companded_audio_is_expanded(encoding: Encoding, table: tuple[int, ...]) -> None:
    every = bytes(range(256))

    assert Decoder(AudioFormat(encoding=encoding)).feed(every) == struct.pack("<256h", *table)
    assert Decoder(AudioFormat(encoding=encoding, channels=2)).feed(every) == struct.pack(
        "<128h", *((table[i] + table[i + 1]) >> 1 for i in range(0, 256, 2))
    )


@pytest.mark.parametrize(
    ("audio_format", "data", "detail"),
    [
        (AudioFormat(), b"", "the audio message is empty"),
        (AudioFormat(), bytes(3), "3 bytes: pcm16 with 1 channel(s) takes a multiple of 2"),
        (AudioFormat(channels=2), bytes(6), "6 bytes: pcm16 with 2 channel(s) takes a multiple of 4"),
        (
            AudioFormat(encoding=Encoding.MULAW, channels=2),
            bytes(3),
            "3 bytes: mulaw with 2 channel(s) takes a multiple of 2",
        ),
    ],
)
def test_a_message_that_cuts_a_sample_is_refused_whole(audio_format: AudioFormat, data: bytes, detail: str) -> None:
    decoder = Decoder(audio_format)

    with pytest.raises(AudioProcessingFailed) as failure:
        decoder.feed(data)

    assert failure.value.detail == detail
    assert decoder.feed(bytes(4))


# ---- WAV in a stream


@pytest.mark.parametrize(
    ("file", "audio_format"),
    [
        (wav(PCM), AudioFormat()),
        (wav(PCM, rate=8000), AudioFormat(sample_rate=8000)),
        (wav(PCM, extensible=True), AudioFormat()),
        (wav(PCM, before=chunk(b"LIST", b"INFOISFTLavf")), AudioFormat()),
        (wav(PCM, before=chunk(b"bext", bytes(603))), AudioFormat()),
        (wav(PCM, after=chunk(b"LIST", b"INFOISFTLavf60")), AudioFormat()),
        (wav(PCM, data_size=0), AudioFormat()),
        (wav(PCM, data_size=0xFFFFFFFF), AudioFormat()),
        (wav(PCM, data_size=0x7FFFF000), AudioFormat()),
        (wav(PCM, data_size=4), AudioFormat()),  # a recorder that wrote its first chunk's size and went on
        (wav(PCM, magic=b"RF64", data_size=0xFFFFFFFF), AudioFormat()),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 13, 45, 4096])
def test_a_wav_is_heard_however_its_bytes_are_cut(file: bytes, audio_format: AudioFormat, size: int) -> None:
    messages = [file[at : at + size] for at in range(0, len(file), size)]

    assert heard(*messages) == (audio_format, PCM)


@pytest.mark.parametrize("extensible", [False, True])
def test_companded_wavs_are_expanded_and_their_padding_is_not_audio(extensible: bool) -> None:
    for tag, table, encoding in ((7, MULAW, Encoding.MULAW), (6, ALAW, Encoding.ALAW)):
        file = wav(b"\x00\x80\xff", tag=tag, bits=8, rate=8000, extensible=extensible, after=chunk(b"fact", b"1234"))

        assert heard(file) == (
            AudioFormat(encoding=encoding, sample_rate=8000),
            struct.pack("<3h", table[0], table[0x80], table[0xFF]),
        )


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_where_messages_cut_a_stereo_wav_does_not_matter(sizes: list[int]) -> None:
    audio = bytes(range(200))
    file, messages = wav(audio, channels=2), []
    for size in sizes:
        messages.append(file[:size])
        file = file[size:]
    messages += [file] if file else []

    assert heard(*(message for message in messages if message))[1] == Decoder(AudioFormat(channels=2)).feed(audio)


@pytest.mark.parametrize(
    ("file", "detail"),
    [
        (wav(PCM, bits=24), "this is a WAV with 24-bit PCM samples: send PCM16"),
        (wav(PCM, bits=8), "this is a WAV with 8-bit PCM samples: send PCM16"),
        (wav(PCM, tag=3, bits=32), "this is a WAV with 32-bit float samples: send PCM16"),
        (
            wav(PCM, tag=3, bits=32, extensible=True),
            "this is a WAV with 32-bit float samples: send PCM16",
        ),
        (wav(PCM, tag=17, bits=4), "this is a WAV with 4-bit IMA ADPCM samples: send PCM16"),
        (wav(PCM, tag=0x1234), "this is a WAV with 16-bit encoding 0x1234 samples: send PCM16"),
        (wav(PCM, channels=6), "channels 6: allowed are 1 and 2"),
        (wav(PCM, rate=96000), "sample_rate 96000: allowed are 8000 to 48000 Hz"),
    ],
)
def test_a_wav_that_cannot_be_taken_is_named(file: bytes, detail: str) -> None:
    with pytest.raises(InvalidAudioFormat) as failure:
        AudioStream().feed(file)

    assert failure.value.detail == detail


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (bytes.fromhex("1a45dfa39f4286810142f781"), "WebM or Matroska"),
        (b"OggS\x00\x02" + bytes(22), "Ogg (Opus, Vorbis)"),
        (b"fLaC\x00\x00\x00\x22", "FLAC"),
        (b"\x00\x00\x00\x20ftypM4A ", "MP4"),
        (b"ID3\x04\x00\x00" + bytes(10), "MP3"),
        ((bytes.fromhex("fffb9064") + bytes(413)) * 2, "MP3"),  # 128 kbit/s at 44.1 kHz: 417 bytes a frame
        (b"RIFX\x00\x00\x00\x24WAVE", "big-endian WAV"),
    ],
)
def test_a_container_is_called_by_its_name(head: bytes, name: str) -> None:
    with pytest.raises(InvalidAudioFormat, match="this is ") as failure:
        AudioStream().feed(head)

    assert failure.value.detail == f"this is {name}: send PCM16, mu-law or A-law samples, or a WAV of them"


def test_quiet_samples_are_not_taken_for_mp3() -> None:
    quiet = struct.pack("<h", -1025) * 500  # 0xFF 0xFB, the mark of an MP3 frame

    assert recognise(quiet) is None
    assert heard(quiet) == (AudioFormat(), quiet)


@pytest.mark.parametrize("short", [b"RI", b"RIFF", b"RIFF\x00\x00", b"Og", b"fL"])
def test_samples_that_begin_like_a_mark_are_kept(short: bytes) -> None:
    assert heard(short) == (AudioFormat(), short)
    assert heard(short, PCM) == (AudioFormat(), short + PCM)


@pytest.mark.parametrize(
    ("file", "detail"),
    [
        (wav(PCM)[:30], "the audio ended after 30 bytes, inside its WAV header"),
        (
            b"RIFF\x24\x00\x00\x00WAVE" + chunk(b"data", PCM),
            "the WAV header has no fmt chunk before its data",
        ),
        (
            b"RIFF\x24\x00\x00\x00WAVE" + chunk(b"fmt ", bytes(8)),
            "the WAV header's fmt chunk has 8 bytes, at least 16 are due",
        ),
        (
            b"RIFF\x24\x00\x00\x00WAVE" + chunk(b"junk", b"", 1 << 30),
            "the WAV header has no data chunk in its first 65536 bytes",
        ),
        (
            b"RIFF\x24\x00\x00\x00WAVE" + chunk(b"junk", b"") * 100,
            "the WAV header has no data chunk in its first 65536 bytes",
        ),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(file: bytes, detail: str) -> None:
    with pytest.raises(AudioProcessingFailed) as failure:
        heard(file)

    assert failure.value.detail == detail


def test_what_start_said_must_be_what_the_header_says() -> None:
    with pytest.raises(InvalidAudioFormat) as failure:
        heard(wav(PCM, channels=2), declared=DeclaredFormat(channels=1))

    assert failure.value.detail == "channels is 1 as declared, but 2 in the WAV header"


@given(st.lists(st.binary(max_size=80), max_size=8), st.booleans())
def test_no_bytes_raise_anything_but_a_speech_error(messages: list[bytes], as_wav: bool) -> None:
    stream = AudioStream()
    for message in [wav(PCM)[:44], *messages] if as_wav else messages:
        try:
            pcm = stream.feed(message)
        except SpeechError:
            continue
        assert len(pcm) % 2 == 0


# ---- WAV files


def _read(tmp_path: Path, data: bytes) -> tuple[WavFile, bytes]:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    file = read_wav(path)
    return file, b"".join(file.chunks())


def test_a_file_is_read_in_chunks_of_whole_samples(tmp_path: Path) -> None:
    audio = bytes(range(250)) * 64
    path = tmp_path / "a.wav"
    path.write_bytes(wav(audio, rate=8000, before=chunk(b"LIST", b"INFO"), after=chunk(b"id3 ", b"ID3")))

    file = read_wav(path)

    assert (file.format, file.frames, file.seconds, file.warning) == (
        AudioFormat(sample_rate=8000),
        8000,
        1.0,
        None,
    )
    assert list(file.chunks(0.03)) == [audio[at : at + 480] for at in range(0, len(audio), 480)]


def test_a_file_that_was_cut_short_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    file, audio = _read(tmp_path, wav(PCM)[:-3])

    assert audio == PCM[:8]
    assert file.frames == 4
    assert file.warning == f"{tmp_path}/a.wav: cut short: 9 of 12 bytes of audio are there, using those"


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_file_whose_writer_left_the_size_open_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    file, audio = _read(tmp_path, wav(PCM, data_size=size))

    assert (audio, file.warning) == (PCM, None)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a WAV file: it has only 5 bytes"),
        (b"hello, this is a text file", "not a WAV file: it does not begin with RIFF....WAVE"),
        (wav(PCM)[:40], "the file ends inside its WAV header"),
        (wav(b""), "the WAV file holds no audio"),
        (wav(PCM, bits=24), "this is a WAV with 24-bit PCM samples: send PCM16"),
        (
            b"OggS" + bytes(40),
            "this is Ogg (Opus, Vorbis), not WAV; convert it: ffmpeg -i FILE -ar 16000 -ac 1 -c:a pcm_s16le OUT.wav",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, data: bytes, complaint: str) -> None:
    with pytest.raises(UnreadableAudio) as failure:
        _read(tmp_path, data)

    assert str(failure.value) == f"{tmp_path}/a.wav: {complaint}"


@pytest.mark.parametrize(("name", "complaint"), [("missing.wav", "no such file or directory"), ("", "is a directory")])
def test_a_file_that_is_not_there_says_so(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(UnreadableAudio) as failure:
        read_wav(tmp_path / name)

    assert str(failure.value) == f"{tmp_path / name}: {complaint}"
