"""States of servers that nobody has to run, of any size."""

from __future__ import annotations

from transport.admin.state import About, BackendRow, Check, ErrorRow, Node, SessionRow, State

AT = 1_800_000_000.0
ABOUT = About(version="1.0", host="gw-1", pid=1, started=AT - 3661, url="ws://127.0.0.1:8600/transcribe")
_EXIT = "crashed, StreamLost('the stream to the backend was reset by its peer, which gave no reason for it at all')"
_STATES = ("streaming",) * 17 + ("recovering", "delayed", "connecting")


def session(number: int) -> SessionRow:
    state = _STATES[number % len(_STATES)]
    return SessionRow(
        state=state,
        since=AT - number,
        connected=number % 10 > 0,
        received=float(number % 600),
        durable=max(0.0, number % 600 - 1.5),
        lag=1.5,
        finals=number % 50,
        acked=number % 50,
        backend="riva-a" if number % 3 else "riva-b",
        limit=20,
        parts={
            "session": Node(state="running"),
            "recogniser": Node(state="running", number=2, last_exit=_EXIT) if number % 2 else Node(state="running"),
        },
        events=3,
    )


def state(sessions: int = 0, **changed: object) -> State:
    """One with so many sessions, of which some are in trouble."""
    fields: dict[str, object] = {
        "at": AT,
        "about": ABOUT,
        "checks": {"journal": Check(well=True, text="written")},
        "capacity": max(100, sessions),
        "lags": tuple(float(number % 7) for number in range(240)),
        "tree": {
            "voxtree": Node(state="running", strategy="one_for_one", limit=10, window=10.0),
            "voxtree/journal": Node(state="running", mailbox=0),
            "voxtree/backends": Node(state="running", strategy="one_for_one", limit=10, window=10.0),
            "voxtree/backends/questions": Node(state="running", number=2, last_exit="crashed, OSError('no')"),
            "voxtree/sessions": Node(state="running", strategy="dynamic", limit=1, window=5.0),
            "voxtree/front door": Node(state="running"),
        },
        "sessions": {f"call-{number:04}": session(number) for number in range(sessions)},
        "backends": {
            "riva-a": BackendRow(tier="primary", health="ready", breaker="closed", streams=600, cap=700, most=700),
            "riva-b": BackendRow(
                tier="fallback", health="suspect", breaker="open", streams=0, cap=300, most=700, free_at=AT + 12.0,
                probe_at=AT + 1.0, last_code="RIVA_005", last_code_at=AT - 4.0,
            ),
        },
        "errors": {
            "RIVA_005": ErrorRow(
                name="RIVA_STREAM_LOST", severity="ERROR", count=41, first=AT - 90, last=AT - 4, rate=12,
                meaning="A running stream broke.", remedy="Look at the backend's log.", detail="reset by peer",
                where="call-0001",
            )
        },
    }  # fmt: skip
    return State(**{**fields, **changed})  # type: ignore[arg-type]
