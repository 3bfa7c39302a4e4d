"""`cache`: how surely the cache of transcripts finds a recording again, how rarely a wrong one, and what it costs.

Every recording of the folder is put into an index, among others made of pieces of the same voices at another speed.
Then each is looked up after a change: a telephone, noise, gain, another beginning. It is found if it is the one that
is returned, and accepted; a wrong one is accepted if any other is, the right one taken out. At last the cache as it is
used: finals of the embedded recogniser are learned, the recordings wait for a backend, and are cut by loudness alone.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec

from actors.speech.utterances import Utterances
from bench import results
from bench.changes import CHANGES, changed, faster
from bench.results import Figure
from bench.speech import Speech, load
from transport.cache.fingerprint import Landmarks, fingerprint
from transport.cache.index import Index
from transport.embedded.recognise import Recogniser

ENTRIES, QUICK_ENTRIES = 2000, 50
LONGEST = 30.0  # seconds of a recording; longer ones are cut into parts of half of that
SPEEDS = ((0.8, 0.95), (1.05, 1.22))  # of the others; played 4 % slower a recording is still found, and rightly
OTHERS = (2.0, 12.0)  # seconds
ONSET = 0.1  # seconds learned before a final's first word


class Found(msgspec.Struct, frozen=True):
    """What came of looking up all recordings after one change: the lowest right and the highest wrong score, too."""

    change: str
    recall: float  # percent
    first: float  # percent: the right one came first, accepted or not
    wrong: int
    right_score: float
    wrong_score: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    recordings: int
    entries: int
    entry_seconds: float
    found: list[Found]
    queries: int
    wrong: int
    fingerprint_ms_per_second: float
    lookup_ms_p50: float
    lookup_ms_p95: float
    megabytes: float  # as the index estimates
    resident_megabytes: float  # by which the process grew
    finals: int | None = None
    finals_found: int | None = None
    finals_wrong: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a folder with manifest.jsonl and the WAV files it names")
    parser.add_argument("--entries", type=int, default=ENTRIES, help=f"recordings in the index (default {ENTRIES})")
    parser.add_argument("--quick", action="store_true", help="a small index, and not as it is used: see that it works")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure."""
    circumstances = results.circumstances("cache", args)
    speech = [part for one in load(args.folder) for part in _parts(one)]
    report = _measure(speech, QUICK_ENTRIES if args.quick else args.entries)
    if not args.quick:
        report = msgspec.structs.replace(report, **_as_used(speech))
    _print(report)
    if args.json:
        result = results.Result(**circumstances, figures=figures_of(report))
        results.write(args.json, result, msgspec.to_builtins(report))
    return 0


def figures_of(report: Report) -> dict[str, Figure]:
    """What can be compared with another run."""
    units = {
        "wrong": "lookups",
        "fingerprint_ms_per_second": "ms",
        "lookup_ms_p50": "ms",
        "lookup_ms_p95": "ms",
        "megabytes": "MB",
        "resident_megabytes": "MB",
    }
    found = {name: Figure.of([getattr(report, name)], unit, "lower") for name, unit in units.items()}
    found |= {f"{one.change}.found": Figure.of([one.recall], "%", "higher") for one in report.found}
    if report.finals_found is not None:
        found["finals_found"] = Figure.of([report.finals_found], "finals", "higher")
    return found


def _parts(speech: Speech) -> Iterator[Speech]:
    if speech.seconds <= LONGEST:
        yield speech
        return
    size = int(LONGEST / 2 * speech.sample_rate) * 2
    for number, start in enumerate(range(0, len(speech.pcm), size), 1):
        name = f"{speech.name} part {number}"
        yield Speech(name, speech.text, speech.pcm[start : start + size], speech.sample_rate)


# ---- the index alone


def _measure(speech: list[Speech], entries: int) -> Report:
    before = _resident()
    index = Index(max_entries=entries, max_bytes=1 << 40, ttl=float("inf"))
    seconds = 0.0
    for one in chain(_others(speech, entries - len(speech)), speech):
        index.add(fingerprint(one.pcm, one.sample_rate), one.name, 0.0)
        seconds += one.seconds
    grown = _resident() - before
    times: list[float] = []
    found = [_found(index, speech, change, times) for change in CHANGES]
    times.sort()
    return Report(
        recordings=len(speech),
        entries=len(index),
        entry_seconds=round(seconds, 1),
        found=found,
        queries=len(times),
        wrong=sum(one.wrong for one in found),
        fingerprint_ms_per_second=round(_fingerprint_cost(speech), 2),
        lookup_ms_p50=round(1000 * statistics.median(times), 2),
        lookup_ms_p95=round(1000 * times[int(0.95 * (len(times) - 1))], 2),
        megabytes=round(index.bytes / 1e6, 1),
        resident_megabytes=round(grown / 1e6, 1),
    )


def _others(speech: list[Speech], count: int) -> Iterator[Speech]:
    """Recordings that are none of ours, though the voices are."""
    dice = random.Random(1)
    for number in range(count):
        one = dice.choice(speech)
        seconds = dice.uniform(*OTHERS)
        begin = dice.uniform(0, max(0.0, one.seconds - seconds))
        first, last = (int(at * one.sample_rate) * 2 for at in (begin, begin + seconds))
        piece = Speech(f"other {number}", "", one.pcm[first:last], one.sample_rate)
        yield faster(piece, dice.uniform(*dice.choice(SPEEDS)))


def _found(index: Index, speech: list[Speech], change: str, times: list[float]) -> Found:
    accepted = first = wrong = 0
    right_scores, wrong_scores = [], [0.0]
    for one in speech:
        query = changed(one, change)
        landmarks = fingerprint(query.pcm, query.sample_rate)
        began = time.perf_counter()
        answer = index.find(landmarks, 0.0)
        times.append(time.perf_counter() - began)
        matches = list(index.matches(landmarks, 0.0, fewest=2))
        accepted += answer is not None and answer.text == one.name
        first += bool(matches) and matches[0].text == one.name
        wrong += any(match.accepted for match in matches if match.text != one.name)
        right_scores.append(next((match.score for match in matches if match.text == one.name), 0.0))
        wrong_scores += [match.score for match in matches if match.text != one.name]
    return Found(
        change,
        round(100 * accepted / len(speech), 1),
        round(100 * first / len(speech), 1),
        wrong,
        round(min(right_scores), 3),
        round(max(wrong_scores), 3),
    )


def _fingerprint_cost(speech: list[Speech]) -> float:
    """Milliseconds for a second of audio."""
    began = time.process_time()
    for one in speech:
        fingerprint(one.pcm, one.sample_rate)
    return 1000 * (time.process_time() - began) / sum(one.seconds for one in speech)


def _resident() -> int:
    """Bytes of memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


# ---- as it is used


def _as_used(speech: list[Speech]) -> dict[str, int]:
    index = Index(max_entries=1_000_000, max_bytes=1 << 40, ttl=float("inf"))
    recogniser = Recogniser()
    finals = 0
    for one in speech:
        for number, landmarks in enumerate(_learned(recogniser, one)):
            index.add(landmarks, f"{one.name}/{number}", 0.0)
            finals += 1
    found, wrong = set(), 0
    for one in speech:
        for landmarks in _waiting(one):
            if (match := index.find(landmarks, 0.0)) is not None:
                found.add(match.text)
                wrong += not match.text.startswith(f"{one.name}/")
    return {"finals": finals, "finals_found": len(found), "finals_wrong": wrong}


def _learned(recogniser: Recogniser, speech: Speech) -> Iterator[Landmarks]:
    for final in recogniser.transcribe(speech.pcm, speech.sample_rate):
        first, last = (at * speech.sample_rate // 16_000 for at in (final.words[0].start, final.words[-1].end))
        first = max(0, first - int(ONSET * speech.sample_rate))
        if last - first >= speech.sample_rate:
            yield fingerprint(speech.pcm[2 * first : 2 * last], speech.sample_rate)


def _waiting(speech: Speech) -> Iterator[Landmarks]:
    utterances = Utterances(speech.sample_rate, 0)
    for span in [*utterances.feed(speech.pcm), *utterances.finish()]:
        if span.end - span.start >= speech.sample_rate:
            yield fingerprint(speech.pcm[2 * span.start : 2 * span.end], speech.sample_rate)


# ---- the table


def _print(report: Report) -> None:
    print(
        f"\n{report.recordings} recordings among {report.entries} entries, {report.entry_seconds:.0f} s of audio\n\n"
        f"{'change':40} {'found %':>8} {'first %':>8} {'lowest':>8} {'wrong':>6} {'highest':>8}"
    )
    for one in report.found:
        print(
            f"{one.change:40} {one.recall:8.1f} {one.first:8.1f} {one.right_score:8.3f} {one.wrong:6} "
            f"{one.wrong_score:8.3f}"
        )
    print(
        f"\n  wrong ones accepted  {report.wrong} in {report.queries} lookups, the right one taken out\n"
        f"  fingerprint          {report.fingerprint_ms_per_second:.2f} ms of CPU for a second of audio\n"
        f"  lookup               p50 {report.lookup_ms_p50:.2f} ms, p95 {report.lookup_ms_p95:.2f} ms\n"
        f"  memory               {report.megabytes:.1f} MB by its own estimate, {report.resident_megabytes:.1f} MB "
        "by which the process grew"
    )
    if report.finals is not None:
        print(
            f"  as it is used        {report.finals_found} of {report.finals} finals found again in waiting audio, "
            f"{report.finals_wrong} wrong"
        )
