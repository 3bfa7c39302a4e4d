"""The journal: what a session must not lose even when its process does."""

from actors.speech.journal.body import Bodies, Sealer, TextPolicy, pack_config, unpack_config
from actors.speech.journal.journal import Journal
from actors.speech.journal.memory import MemoryStore
from actors.speech.journal.port import Durability, JournalStore, Retention

__all__ = [
    "Bodies",
    "Durability",
    "Journal",
    "JournalStore",
    "MemoryStore",
    "Retention",
    "Sealer",
    "TextPolicy",
    "pack_config",
    "unpack_config",
]
