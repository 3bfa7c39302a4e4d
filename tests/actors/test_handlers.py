"""Which method handles which message, decided when an actor's class is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, Union

import msgspec
import pytest

from actors import Actor, handler

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")


class Audio(msgspec.Struct, frozen=True):
    pass


class Loud(Audio, frozen=True):
    pass


class Stop(msgspec.Struct, frozen=True):
    pass


class Batch(msgspec.Struct, Generic[T], frozen=True):
    items: tuple[T, ...] = ()


Control = Union[Stop, Annotated[str, "a command"]]  # noqa: UP007  # both spellings of a union are meant to work


class Plain(Actor[Audio | Stop]):
    @handler
    def on_audio(self, message: Audio) -> None: ...

    @handler
    async def on_stop(self, message: Stop) -> None: ...


def chosen(cls: type[Actor[Any]], kind: type) -> str | None:
    found = cls._handler_for(kind)
    return None if found is None else found.__qualname__.rpartition("<locals>.")[2]


def test_the_annotation_of_the_message_chooses_the_handler() -> None:
    assert [chosen(Plain, kind) for kind in (Audio, Stop, str)] == ["Plain.on_audio", "Plain.on_stop", None]


def test_one_handler_may_take_a_union_an_alias_or_a_generic_class() -> None:
    class Unions(Actor[Audio | Control | Batch[int]]):
        @handler
        def on_data(self, message: Audio | Batch[int]) -> None: ...

        @handler
        def on_control(self, message: Control) -> None: ...

    assert [chosen(Unions, kind) for kind in (Audio, Batch, Stop, str)] == [
        "Unions.on_data", "Unions.on_data", "Unions.on_control", "Unions.on_control",
    ]  # fmt: skip


def test_a_message_without_a_handler_of_its_own_goes_to_the_nearest_base() -> None:
    class Anything(Plain):
        @handler
        def on_anything(self, message: object) -> None: ...

    assert [chosen(Anything, kind) for kind in (Loud, Audio, int)] == [
        "Plain.on_audio", "Plain.on_audio", "Anything.on_anything",
    ]  # fmt: skip


def test_a_subclass_inherits_handlers_and_may_override_and_add_to_them() -> None:
    class Sub(Plain):
        def on_audio(self, message: Audio) -> None: ...

        @handler
        def on_loud(self, message: Loud) -> None: ...

    assert [chosen(Sub, kind) for kind in (Audio, Loud, Stop)] == [
        "Sub.on_audio", "Sub.on_loud", "Plain.on_stop",
    ]  # fmt: skip
    assert [chosen(Plain, kind) for kind in (Audio, Loud)] == ["Plain.on_audio", "Plain.on_audio"]


def test_other_annotations_may_name_what_only_the_type_checker_knows() -> None:
    class Checked(Actor[Audio]):
        @handler
        def on_audio(self, message: Audio) -> Decimal:
            raise NotImplementedError

    assert chosen(Checked, Audio) is not None


def test_two_handlers_for_one_type_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^Twice has two handlers for Audio: on_audio and on_sound$"):

        class Twice(Plain):
            @handler
            def on_sound(self, message: Audio) -> None: ...


def test_a_declared_message_without_a_handler_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Forgetful has no handler for Stop$"):

        class Forgetful(Actor[Audio | Stop]):
            @handler
            def on_audio(self, message: Audio) -> None: ...


def test_a_handler_without_an_annotation_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^handler Vague.on_it must take one message, annotated with its type$"):

        class Vague(Actor[Any]):
            @handler
            def on_it(self, message):  # type: ignore[no-untyped-def]
                ...


def test_a_handler_of_two_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^handler Greedy.on_it must take one message"):

        class Greedy(Actor[Any]):
            @handler
            def on_it(self, message: Audio, again: Audio) -> None: ...


def test_a_handler_of_something_that_is_not_a_class_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^handler Open.on_it: ~T is not a class that messages can have$"):

        class Open(Actor[Any], Generic[T]):
            @handler
            def on_it(self, message: T) -> None: ...


def test_a_message_type_that_cannot_be_looked_up_is_refused_with_its_name() -> None:
    with pytest.raises(TypeError, match=r"^handler Lost.on_it: its message type cannot be looked up .*'Nowhere'"):

        class Lost(Actor[Any]):
            @handler
            def on_it(self, message: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
