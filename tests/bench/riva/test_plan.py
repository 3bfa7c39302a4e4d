"""Plans: what is accepted, and what is said about the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.riva.faults import At, Cycle, End, Slow, Status
from bench.riva.plan import ACTIONS, Plan, PlanError, load, read
from bench.riva.statuses import PRESETS, Refused
from transport.riva.hints import retry_after
from transport.riva.status import Phase, classify

TOML = """
seed = 7
languages = ["en-US", "de-DE"]
in_silence = "empty"

[[faults]]
action = "status"
preset = "gpu_oom"
at = { position = 2 }
every = 3
cycle = { up = 5, down = 2.5 }

[[faults]]
action = "slow"
factor = 10
streams = [1, 2]
until = 60
"""
PLAN = Plan(
    seed=7,
    languages=("en-US", "de-DE"),
    in_silence="empty",
    faults=(
        Status(preset="gpu_oom", at=At(position=2.0), every=3, cycle=Cycle(up=5.0, down=2.5)),
        Slow(factor=10.0, streams=(1, 2), until=60.0),
    ),
)


def test_a_plan_is_read_from_toml_and_from_json(tmp_path: Path) -> None:
    toml, js = tmp_path / "plan.toml", tmp_path / "plan.json"
    toml.write_text(TOML)
    js.write_bytes(msgspec.json.encode(PLAN))
    assert load(toml) == load(js) == PLAN


def test_an_empty_plan_is_a_riva_without_faults() -> None:
    assert read({}) == Plan()


def fault(**fields: Any) -> dict[str, Any]:
    return {"faults": [{"action": "end"}, {"action": "status", "code": "UNKNOWN"} | fields]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the plan: expected a table, got []"),
        ({"fault": []}, "fault: unknown field; there are seed, model, languages, pause, step, in_silence, faults"),
        ({"faults": {}}, "faults: expected a list, got {}"),
        ({"faults": [7]}, "faults[0]: expected a table, got 7"),
        ({"faults": [{}]}, f"faults[0].action: is missing; expected one of {', '.join(ACTIONS)}"),
        (fault(action="stat"), f"faults[1].action: expected one of {', '.join(ACTIONS)}, got 'stat'"),
        (
            {"faults": [{"action": "stall", "secs": 1}]},
            "faults[0].secs: unknown field; there are action, at, streams, every, chance, over, since, until, cycle, "
            "times, seconds",
        ),
        ({"faults": [{"action": "slow"}]}, "faults[0].factor: is missing"),
        (fault(at="opened"), "faults[1].at: expected one of open, preflight, a table, got 'opened'"),
        (fault(at=5), "faults[1].at: expected text or a table, got 5"),
        (
            fault(at={"postion": 5}),
            "faults[1].at.postion: unknown field; there are time, position, after_final, idle, server_time, repeat",
        ),
        (
            fault(at={}),
            "faults[1].at: needs one of time, position, after_final, idle, server_time, and has none",
        ),
        (
            fault(at={"time": 1, "idle": 1}),
            "faults[1].at: needs one of time, position, after_final, idle, server_time, and has time and idle",
        ),
        (fault(at={"time": 1, "repeat": 1}), "faults[1].at: repeat goes with server_time only"),
        (fault(at={"position": -1}), "faults[1].at.position: expected a number >= 0.0, got -1"),
        (fault(at={"position": "1s"}), "faults[1].at.position: expected a number, got '1s'"),
        (fault(streams=[0]), "faults[1].streams[0]: expected an integer >= 1, got 0"),
        (fault(every=1.5), "faults[1].every: expected an integer, got 1.5"),
        (fault(chance=2), "faults[1].chance: expected a number <= 1.0, got 2"),
        (fault(cycle={"up": 1}), "faults[1].cycle.down: is missing"),
        (fault(cycle={"up": 1, "dwn": 1}), "faults[1].cycle.dwn: unknown field; there are up, down"),
        (fault(since=5, until=5), "faults[1]: until 5 is not after since 5"),
        (fault(code="OK"), None),
        (fault(code=None), "faults[1]: needs a code, or a preset"),
        (fault(preset="oom"), f"faults[1]: preset: expected one of {', '.join(PRESETS)}, got 'oom'"),
        (fault(metadata={"Retry-After": "1"}), "faults[1]: metadata: names must be lower case"),
        (fault(at="preflight", over=1), "faults[1]: over counts streams, and there is none before it is opened"),
        (
            {"faults": [{"action": "freeze", "at": "preflight"}]},
            "faults[0]: at: expected one of open, time, position, after_final, idle, server_time for this action, "
            "got preflight",
        ),
        (
            {"faults": [{"action": "queue", "over": 0}]},
            "faults[0]: needs over, at least 1: the streams that are served at the same time",
        ),
        (
            {"faults": [{"action": "goaway", "at": {"server_time": 1}, "every": 2}]},
            "faults[0]: every selects streams, and at a server_time there is none to select",
        ),
        (
            {"faults": [{"action": "not_ready", "times": 2}]},
            "faults[0]: times does not go with this action, which lasts: since, until and cycle do",
        ),
        ({"pause": 0.1}, "pause: expected a number >= 0.15, got 0.1"),
        ({"in_silence": "hum"}, "in_silence: expected one of progress, empty, nothing, got 'hum'"),
        ({"languages": []}, "languages: expected a list of length >= 1, got []"),
    ],
)
def test_a_plan_that_cannot_be_used_says_which_field_and_what_it_may_be(document: Any, message: str | None) -> None:
    with pytest.raises(PlanError) as refused:
        read(document)
    if message is None:
        assert str(refused.value).startswith("faults[1].code: expected one of CANCELLED, UNKNOWN, INVALID_ARGUMENT, ")
    else:
        assert str(refused.value) == message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("plan.toml", "seed = ", "is not valid TOML: Invalid value (at end of document)"),
        ("plan.json", "{", "is not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2"),
        ("plan.toml", "seed = 'x'", "seed: expected an integer, got 'x'"),
        ("plan.json", json.dumps({"sed": 1}), "sed: unknown field; there are seed, model, "),
        ("plan.yaml", "seed: 1", "is neither .toml nor .json"),
    ],
)
def test_what_is_said_about_a_plan_names_the_file(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(PlanError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path}: {message}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"none\.toml: cannot be read: no such file or directory"):
        load(tmp_path / "none.toml")


# ---- statuses


def refusal(**fields: Any) -> tuple[str, str]:
    refused = Status(**fields).refusal()
    return refused.code.name, refused.text


def test_a_preset_has_a_code_and_a_text_and_both_can_be_replaced() -> None:
    assert refusal(preset="response_timeout") == ("UNKNOWN", "TRTIS response timeout")
    assert refusal(preset="response_timeout", text="late") == ("UNKNOWN", "late")
    assert refusal(preset="response_timeout", code="ABORTED") == ("ABORTED", "TRTIS response timeout")
    assert refusal(code="DATA_LOSS") == ("DATA_LOSS", "")


def test_every_preset_can_be_sent_and_means_something_to_voxtree() -> None:
    errors = {name: classify(preset.code, preset.text, Phase.STREAMING).__name__ for name, preset in PRESETS.items()}
    assert "UnexpectedError" not in errors.values()
    assert (errors["gpu_oom"], errors["sequence_expired"], errors["rate_limited"]) == (
        "BackendOutOfMemory",
        "SequenceExpired",
        "QuotaExceeded",
    )


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.0, 1.5, 300.0])
def test_retry_info_is_what_a_client_reads(seconds: float) -> None:
    refused = Status(code="RESOURCE_EXHAUSTED", retry_info=seconds).refusal()
    assert isinstance(refused, Refused)
    assert retry_after(refused.trailers) == seconds


def test_trailers_are_passed_on() -> None:
    refused = Status(code="UNAVAILABLE", metadata={"grpc-retry-pushback-ms": "1500"}).refusal()
    assert refused.trailers == (("grpc-retry-pushback-ms", "1500"),)


def test_a_moment_is_called_by_its_name() -> None:
    moments = ["open", "preflight", At(time=1.0), At(position=1.0), At(after_final=1), At(idle=1.0)]
    names = [Status(code="UNKNOWN", at=at).moment for at in moments]  # type: ignore[arg-type]
    assert names == ["open", "preflight", "time", "position", "after_final", "idle"]
    assert End(at=At(server_time=1.0)).moment == "server_time"
