"""A transcript on a terminal: finals as lines, and below them what is being heard."""

from __future__ import annotations

import shutil
import sys

from transport.client import Final, Gap, GoingAway, Interim, Problem, Ready, Reconnecting, SpeechEvent, Status


class Display:
    """Finals go to stdout; the line below them, when there is a terminal, and notes that stay go to stderr.

    Args:
        sample_rate: Hz.
        prints_finals: whether stdout gets them.
    """

    def __init__(self, sample_rate: int, *, prints_finals: bool = True) -> None:
        self._rate = sample_rate
        self._prints_finals = prints_finals
        self._terminal = sys.stderr.isatty()
        self._text = ""
        self._begun = False
        self._lost = False

    def ahead(self) -> str:
        """What stands before the text in the line below."""
        return ""

    def show(self, event: SpeechEvent) -> None:
        match event:
            case Interim(text=text):
                self.say(text)
            case Final(text=text):
                self.clear()
                if text and self._prints_finals:
                    print(text, flush=True)
                self.say("")
            case Gap(start=start, end=end, code=code):
                lost = f"{(end - start) / self._rate:.1f} s from {start / self._rate:.1f} s on"
                self.note(f"warning: {lost} could not be transcribed [{code}]")
            case Status(message=message) | GoingAway(message=message):
                self.note(message)
            case Problem(message=message, detail=detail, code=code):
                self.note(f"warning: {message}{f' ({detail})' if detail else ''} [{code}]")
            case Reconnecting(reason=reason):
                if not self._lost:
                    self.note(f"{reason}; reconnecting …")
                self._lost = True
            case Ready(resumed=resumed):
                if self._begun:
                    self.note(
                        "connected again" if resumed else "the server had lost the session: going on in a new one"
                    )
                self._begun, self._lost = True, False

    def say(self, text: str) -> None:
        """Replace the line below the finals."""
        self._text = text
        self.refresh()

    def refresh(self) -> None:
        """Write the line below the finals anew; nothing where there is no terminal."""
        if not self._terminal:
            return
        ahead = self.ahead()
        width = shutil.get_terminal_size().columns - 1 - len(ahead)
        # the newest words are at the end: of a long interim, that is what fits
        text = self._text if len(self._text) <= width else "…" + self._text[max(0, len(self._text) - width + 1) :]
        print(f"\r\x1b[2K{ahead}{text}", end="", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A line that stays, on stderr."""
        self.clear()
        print(f"voxtree: {text}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line below the finals away."""
        if self._terminal:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """One line, whatever the outside world wrote into it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def bar(part: float, width: int = 10) -> str:
    """A bar of which a part (0 to 1) is full."""
    full = min(width, max(0, int(part * width)))
    return "█" * full + "░" * (width - full)
