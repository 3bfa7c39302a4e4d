"""`riva`: a Riva that recognises word-coded audio, and fails as a plan says.

It speaks Riva's real protocol, so that a client meets each failure through its own channel. What it does wrong, when
and on which streams, is in the plan; docs/benchmarks.md has its fields. It prints `listening on HOST:PORT` when it
serves, and runs until SIGTERM or Ctrl-C.
"""

from bench.riva.command import add_arguments, run
from bench.riva.ledger import Ledger, Score, total
from bench.riva.plan import Plan, PlanError, load, read
from bench.riva.process import RivaProcess
from bench.riva.report import Report
from bench.riva.server import ScriptedRiva
from bench.riva.words import CodedSpeech, CodedWord, WordDecoder

__all__ = [
    "CodedSpeech",
    "CodedWord",
    "Ledger",
    "Plan",
    "PlanError",
    "Report",
    "RivaProcess",
    "Score",
    "ScriptedRiva",
    "WordDecoder",
    "add_arguments",
    "load",
    "read",
    "run",
    "total",
]
