"""Audio at the edge: formats, headers and G.711, down to the PCM16 mono a session hears."""

from transport.audio.decoder import Decoder
from transport.audio.formats import DEFAULT_FORMAT, AudioFormat, DeclaredFormat, Encoding
from transport.audio.stream import AudioStream
from transport.audio.wav_file import UnreadableAudio, WavFile, read_wav

__all__ = [
    "DEFAULT_FORMAT",
    "AudioFormat",
    "AudioStream",
    "DeclaredFormat",
    "Decoder",
    "Encoding",
    "UnreadableAudio",
    "WavFile",
    "read_wav",
]
