"""Names under which actors can be found."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, TypeVar

from actors.address import Ref
from actors.errors import NameTaken

M = TypeVar("M")


class Registry(Generic[M]):
    """Refs by unique name, all of actors that take `M`. A name survives restarts, as the ref does."""

    def __init__(self) -> None:
        self._entries: dict[str, Registration[M]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the oldest first."""
        return tuple(self._entries)

    def whereis(self, name: str) -> Ref[M] | None:
        """The ref of this name, if there is one."""
        entry = self._entries.get(name)
        return None if entry is None else entry.ref

    def register(self, name: str, ref: Ref[M]) -> Registration[M]:
        """Give a ref a name until the registration is removed: by hand, or by leaving it as a context.

        Raises:
            NameTaken: the name has a ref, be it the same one.
        """
        if name in self._entries:
            raise NameTaken(name)
        entry = self._entries[name] = Registration(self, name, ref)
        return entry


class Registration(Generic[M]):
    """A ref's hold on a name."""

    def __init__(self, registry: Registry[M], name: str, ref: Ref[M]) -> None:
        self.name = name
        self.ref = ref
        self._registry = registry

    def remove(self) -> None:
        """Free the name. Once it is free, no effect: a successor of the same name stays."""
        if self._registry._entries.get(self.name) is self:
            del self._registry._entries[self.name]

    def __enter__(self) -> Registration[M]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()
