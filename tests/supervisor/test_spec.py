from __future__ import annotations

from typing import Any

import pytest

from supervisor import BRUTAL_KILL, AutoShutdown, Child, Intensity, InvalidSpec, Restart, Strategy, Supervisor


async def serve() -> None: ...


def child(id: str = "a", **options: Any) -> Child:
    return Child(id, serve, **options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"id": ""}, "missing_id"),
        ({"id": 7}, "missing_id"),
        ({"restart": "permanent"}, "invalid_restart_type"),
        ({"shutdown": -1}, "invalid_shutdown"),
        ({"shutdown": True}, "invalid_shutdown"),
        ({"shutdown": "infinity"}, "invalid_shutdown"),
        ({"shutdown": float("nan")}, "invalid_shutdown"),
        ({"significant": "yes"}, "invalid_significant"),
        ({"significant": True}, "bad_combination"),
    ],
)
def test_a_child_spec_that_is_not_valid_says_so_in_otps_word(options: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        child(**options)
    assert (caught.value.word, "\n" in str(caught.value)) == (word, False)


def test_a_child_without_an_async_callable_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="start of child 'a' must be an async callable") as caught:
        Child("a", None)  # type: ignore[arg-type]
    assert caught.value.word == "missing_start"


SIGNIFICANT = child("a", restart=Restart.TRANSIENT, significant=True)


@pytest.mark.parametrize(
    ("children", "options", "word"),
    [
        ([child("a"), child("a")], {}, "duplicate_child_name"),
        ([SIGNIFICANT], {}, "bad_combination"),
        ([child()], {"strategy": Strategy.DYNAMIC}, "bad_start_spec"),
        ([], {"strategy": "one_for_one"}, "invalid_strategy"),
        ([], {"intensity": 3}, "invalid_intensity"),
        ([], {"auto_shutdown": "never"}, "invalid_auto_shutdown"),
        ([], {"max_children": 3}, "invalid_max_children"),
        ([], {"one_at_a_time": True}, "bad_combination"),
        ([serve], {}, "invalid_child_spec"),
    ],
)
def test_a_supervisor_whose_arguments_do_not_fit_together_is_refused(
    children: list[Child], options: dict[str, Any], word: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Supervisor(children, **options)
    assert caught.value.word == word


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((-1, 5.0), "invalid_intensity"),
        ((1.5, 5.0), "invalid_intensity"),
        ((1, 0), "invalid_period"),
        ((1, float("nan")), "invalid_period"),
    ],
)
def test_an_intensity_out_of_range_is_refused(arguments: Any, word: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Intensity(*arguments)
    assert caught.value.word == word


def test_the_defaults_are_otps() -> None:
    made, nested = child(), Supervisor.child("s")
    assert (made.restart, made.shutdown, made.significant) == (Restart.PERMANENT, 5.0, False)
    assert (nested.shutdown, nested.supervises, made.supervises) == (float("inf"), True, False)
    assert Intensity() == Intensity(1, 5.0)
    Supervisor([SIGNIFICANT], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    child(shutdown=BRUTAL_KILL)
    child(shutdown=0)
