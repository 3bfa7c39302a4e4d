"""A Riva that recognises word-coded audio and fails as a plan says, and the account of what became of the words."""

from bench.riva.ledger import Ledger, Score, total
from bench.riva.plan import Plan, PlanError, load, read
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
    "Score",
    "ScriptedRiva",
    "WordDecoder",
    "load",
    "read",
    "total",
]
