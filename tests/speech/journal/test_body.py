"""Finals and gaps come back from their bodies as they were, whatever is kept of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.errors import JournalDamaged
from actors.speech.journal.body import Bodies, TextPolicy, pack_config, unpack_config
from actors.speech.journal.port import Entry
from actors.speech.messages import Gap, Transcript
from actors.speech.ports import RecognitionConfig, Tier, Word

positions = st.integers(0, 2**40)
texts = st.text(st.characters(codec="utf-8"))
words = st.builds(Word, texts, positions, positions, st.floats(0, 1))
finals = st.builds(
    Transcript,
    is_final=st.just(True),
    seq=st.integers(1, 2**31),
    start=positions,
    end=positions,
    text=texts,
    words=st.lists(words, max_size=5).map(tuple),
    confidence=st.floats(0, 1),
    source=st.sampled_from(Tier),
    provisional=st.booleans(),
)
gaps = st.builds(Gap, seq=st.integers(1, 2**31), start=positions, end=positions, code=st.just("AUDIO_004"))


class Mirror:
    """Seals by turning bytes round; enough to see what it is called with."""

    def seal(self, plain: bytes, context: bytes) -> bytes:
        return context + b"|" + plain[::-1]

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        found, _, rest = sealed.partition(b"|")
        if found != context:
            raise ValueError("another context")
        return rest[::-1]


@given(event=st.one_of(finals, gaps), text=st.sampled_from([TextPolicy.PLAIN, TextPolicy.ENCRYPTED]))
def test_an_event_comes_back_as_it_was(event: Transcript | Gap, text: TextPolicy) -> None:
    bodies = Bodies(text, Mirror())
    entry = bodies.entry("s1", event)
    assert (entry.seq, entry.start, entry.end) == (event.seq, event.start, event.end)
    assert bodies.event("s1", entry) == event
    assert Bodies(TextPolicy.NONE, Mirror()).event("s1", entry) == event  # the policy was changed since


@given(event=st.one_of(finals, gaps))
def test_without_text_nothing_is_kept_but_the_place(event: Transcript | Gap) -> None:
    bodies = Bodies(TextPolicy.NONE)
    entry = bodies.entry("s1", event)
    assert entry == Entry(event.seq, event.start, event.end, b"")
    assert bodies.event("s1", entry) is None


def test_a_sealed_body_is_no_other_entrys() -> None:
    bodies = Bodies(TextPolicy.ENCRYPTED, Mirror())
    entry = bodies.entry("s1", Gap(seq=1, start=0, end=100, code="AUDIO_004"))
    with pytest.raises(JournalDamaged, match="entry 1 of session 's2' cannot be read: another context"):
        bodies.event("s2", entry)
    with pytest.raises(JournalDamaged, match="another context"):
        bodies.event("s1", Entry(2, 100, 200, entry.body))
    with pytest.raises(JournalDamaged, match="it is encrypted, and there is no key"):
        Bodies().event("s1", entry)


@pytest.mark.parametrize("body", [b"\x01", b"\x01\xc1", b"\x01\x80", b"\x07abc", b"plain"])
def test_a_body_that_is_none_is_told_as_damage(body: bytes) -> None:
    with pytest.raises(JournalDamaged, match="cannot be read"):
        Bodies().event("s1", Entry(1, 0, 100, body))


def test_encryption_takes_a_key() -> None:
    with pytest.raises(ValueError, match="takes a sealer"):
        Bodies(TextPolicy.ENCRYPTED)


def test_a_body_of_the_first_version_is_still_read() -> None:
    """What is on disks out there must stay readable: this was written by 0.1."""
    body = (
        b"\x01\x83\xa4type\xa5final\xa4text\xa5hello\xa5words\x91\x84\xa4text\xa5hello\xa5start\x00\xa3end\xcd\x03\xe8"
        b"\xaaconfidence\xcb?\xe0\x00\x00\x00\x00\x00\x00"
    )
    assert Bodies().event("s1", Entry(1, 0, 1600, body)) == Transcript(
        is_final=True, seq=1, start=0, end=1600, text="hello", words=(Word("hello", 0, 1000, 0.5),)
    )


def test_a_config_comes_back_as_it_was() -> None:
    config = RecognitionConfig(sample_rate=8000, language="de-DE", punctuate=False, model="parakeet")
    assert unpack_config(pack_config(config)) == config
    assert unpack_config(b"\x80") == RecognitionConfig()  # of a version that knew fewer settings
    with pytest.raises(JournalDamaged, match="config cannot be read"):
        unpack_config(b"no config")
