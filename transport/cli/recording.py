"""The recording that `voxtree demo` plays, and what is said in it."""

from __future__ import annotations

from pathlib import Path

RECORDING = Path(__file__).with_name("demo.wav")  # PCM16 mono; made by bench/record_demo.py
SAMPLE_RATE = 16000  # Hz
SENTENCES = (
    "Every session has its own supervisor.",
    "If one server is lost, the next one takes over.",
    "The session continues without a break.",
    "Not one word was lost.",
)
