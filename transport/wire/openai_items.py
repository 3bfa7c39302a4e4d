"""The items of an OpenAI transcription session: which words belong to which stretch of audio, and when all are there.

OpenAI's clients get their words by item. Where the server detects turns, each final is one. Where the client commits,
an item is what lies between two commits, however many finals that makes: its text is complete with a final that reaches
nearly to its end, or with any that lies behind it. A commit before which nobody spoke gets no final at all: its item is
complete when for some seconds nothing was heard although the recogniser is there. A commit while the server detects
turns is answered like that too, so that whoever waits for its item has every word by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial

from actors.speech.messages import Gap, Status, Transcript
from transport.wire.openai_realtime_schema import (
    Committed,
    Completed,
    Delta,
    Error,
    Item,
    ItemAdded,
    ItemCreated,
    ItemDone,
    ServerMessage,
    SpeechStarted,
    SpeechStopped,
    TranscriptionFailed,
    Usage,
)

NEAR_SECONDS = 1.5  # a final that ends so little before a commit has the commit's last words
ONSET_SECONDS = 1.0  # what an utterance's first interim shows was said since
QUIET_TICKS = 3  # seconds without a word, of a recogniser that is there, after which a commit has all its words


class Items:
    """Makes a session's words into items. No I/O; time passes with `tick`, once in a second.

    Positions are samples at the session's rate.

    Args:
        stem: is in the ids of the session's items.

    Attributes:
        is_beta: items are announced as the beta has it.
        is_manual: the client detects turns, rather than the server.
        rate: samples per second.
    """

    def __init__(self, stem: str, *, is_beta: bool = False, is_manual: bool = False) -> None:
        self.is_beta = is_beta
        self.is_manual = is_manual
        self.rate = 24_000
        self._stem = stem
        self._count = 0
        self._last: str | None = None  # the last item that was committed
        self._utterance: str | None = None  # the item of which the client knows that it has begun
        self._open: deque[_Stretch] = deque()  # committed, and not all words are there
        self._said: list[str] = []  # behind the last commit
        self._committed = 0  # the position of the last commit
        self._settled = 0  # … and where the last final ended
        self._speaks = False  # there are words that are not final
        self._is_away = False  # the recogniser
        self._quiet = 0  # ticks

    # ---- the client

    def commit(self, position: int) -> list[ServerMessage]:
        """The client ends the utterance: where it detects turns, all audio up to `position` is an item."""
        stretch = self._closed(position)
        if not self.is_manual:
            return []
        stretch.identity = self._new()
        announced = self._announced(stretch.identity)
        if stretch.text and not self._speaks and self._is_near(stretch):
            self._open.pop()
            return [*announced, *self._complete(stretch)]
        return announced

    def clear(self, position: int) -> None:
        """The client does not want the words for what it has not committed."""
        self._closed(position).is_wanted = False

    def detect_turns(self) -> list[ServerMessage]:
        """The server does from now on: what was said since the last commit is an item already."""
        self.is_manual = False
        return self._unclaimed()

    def _closed(self, position: int) -> _Stretch:
        stretch = _Stretch(self._committed, position, self._said)
        self._open.append(stretch)
        self._said, self._committed, self._quiet = [], position, 0
        return stretch

    # ---- the recogniser

    def interim(self, event: Transcript) -> list[ServerMessage]:
        """Words that may still change: all they tell is that somebody speaks."""
        self._speaks, self._quiet = True, 0
        if self.is_manual or self._utterance is not None:
            return []
        return [self._started(max(event.start, event.end - int(ONSET_SECONDS * self.rate)))]

    def final(self, event: Transcript) -> list[ServerMessage]:
        """Words for good, or silence."""
        self._speaks, self._quiet, self._settled = False, 0, event.end
        begin = event.words[0].start if event.words else event.start
        messages = self._completed_before(begin if event.text else event.end)
        if event.text or self._utterance is not None:
            messages += self._said_at(begin, event)
        if self._open and self._is_near(self._open[0]):
            messages += self._complete(self._open.popleft())
        return messages

    def gap(self, event: Gap, error: Error) -> list[ServerMessage]:
        """Audio was lost: that fails the items of which nothing else is left, or is an item of its own."""
        self._speaks, self._quiet, self._settled = False, 0, event.end
        lost = [self._open.popleft() for _ in range(sum(each.end <= event.end for each in self._open))]
        if lost:
            return [message for each in lost for message in self._fail(each, error)]
        return self._failed_item(error)

    def status(self, event: Status) -> None:
        """The recogniser has gone, or is back."""
        self._is_away, self._quiet = event.state in ("recovering", "delayed"), 0
        self._speaks = False  # what was not final is heard again, by another one

    def tick(self) -> list[ServerMessage]:
        """A second has passed."""
        self._quiet += 1
        if self._speaks or self._is_away or self._quiet < QUIET_TICKS:
            return []
        return self._completed_before(self._committed)

    def end(self, error: Error | None = None) -> list[ServerMessage]:
        """No more words come; `error`: because of that."""
        stretches = list(self._open)
        self._open.clear()
        finish = self._complete if error is None else partial(self._fail, error=error)
        return [*(message for each in stretches for message in finish(each)), *self._unclaimed()]

    # ---- what follows

    def _said_at(self, begin: int, event: Transcript) -> list[ServerMessage]:
        if not self.is_manual:
            return self._turn(begin, event)
        if self._open:
            self._open[0].said.append(event.text)
            return []
        if begin < self._committed:  # late: what it belongs to was taken for complete
            return self._item(event.text, event.end - event.start)
        self._said.append(event.text)
        return []

    def _turn(self, begin: int, event: Transcript) -> list[ServerMessage]:
        started = [] if self._utterance is not None else [self._started(begin)]
        identity, self._utterance = self._utterance or "", None
        stopped = SpeechStopped(audio_end_ms=self._ms(event.end), item_id=identity)
        transcribed = self._transcribed(identity, event.text, event.end - event.start)
        if self._open and self._is_near(self._open[0]):
            self._open.popleft()  # this is its item
        return [*started, stopped, *self._announced(identity), *transcribed]

    def _started(self, position: int) -> SpeechStarted:
        self._utterance = self._new()
        return SpeechStarted(audio_start_ms=self._ms(position), item_id=self._utterance)

    def _unclaimed(self) -> list[ServerMessage]:
        text, self._said = _joined(self._said), []
        return self._item(text, self._settled - self._committed) if text else []

    def _item(self, text: str, samples: int) -> list[ServerMessage]:
        identity = self._new()
        return [*self._announced(identity), *self._transcribed(identity, text, samples)]

    def _failed_item(self, error: Error) -> list[ServerMessage]:
        identity, self._utterance = self._utterance or self._new(), None
        return [*self._announced(identity), TranscriptionFailed(item_id=identity, error=error)]

    def _announced(self, identity: str) -> list[ServerMessage]:
        before, self._last = self._last, identity
        item = Item(id=identity)
        committed = Committed(previous_item_id=before, item_id=identity)
        if self.is_beta:
            return [committed, ItemCreated(previous_item_id=before, item=item)]
        added, done = ItemAdded(previous_item_id=before, item=item), ItemDone(previous_item_id=before, item=item)
        return [committed, added, done]

    def _transcribed(self, identity: str, text: str, samples: int) -> list[ServerMessage]:
        usage = Usage(seconds=round(max(0, samples) / self.rate, 3))
        completed = Completed(item_id=identity, transcript=text, usage=usage)
        return [Delta(item_id=identity, delta=text), completed] if text else [completed]

    def _is_near(self, stretch: _Stretch) -> bool:
        """Whether the last final reaches nearly to its end."""
        return stretch.end - self._settled <= NEAR_SECONDS * self.rate

    def _completed_before(self, position: int) -> list[ServerMessage]:
        messages: list[ServerMessage] = []
        while self._open and self._open[0].end <= position:
            messages += self._complete(self._open.popleft())
        return messages

    def _complete(self, stretch: _Stretch) -> list[ServerMessage]:
        if not stretch.is_wanted:
            return []
        if stretch.identity is None:  # what was said in it made items already
            return self._item(stretch.text, stretch.end - self._settled)
        return self._transcribed(stretch.identity, stretch.text, stretch.end - stretch.start)

    def _fail(self, stretch: _Stretch, error: Error) -> list[ServerMessage]:
        if stretch.text or not stretch.is_wanted:
            return self._complete(stretch)
        if stretch.identity is None:
            return self._failed_item(error)
        return [TranscriptionFailed(item_id=stretch.identity, error=error)]

    def _new(self) -> str:
        self._count += 1
        return f"item_{self._stem}_{self._count}"

    def _ms(self, position: int) -> int:
        return position * 1000 // self.rate


class _Stretch:
    """The audio between two commits; its `identity` is that of its item, once the client knows it."""

    def __init__(self, start: int, end: int, said: list[str]) -> None:
        self.start = start
        self.end = end
        self.said = said
        self.identity: str | None = None
        self.is_wanted = True

    @property
    def text(self) -> str:
        return _joined(self.said)


def _joined(said: Iterable[str]) -> str:
    return " ".join(text for text in said if text)
