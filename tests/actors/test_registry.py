from __future__ import annotations

import pytest

from actors import NameTaken, Ref, Registry


def test_a_registered_ref_is_found_by_its_name_until_its_registration_ends() -> None:
    registry: Registry[str] = Registry()
    ref: Ref[str] = Ref("a")
    with registry.register("s-7", ref):
        assert (registry.whereis("s-7"), registry.names, len(registry)) == (ref, ("s-7",), 1)
    assert (registry.whereis("s-7"), registry.names, len(registry)) == (None, (), 0)


def test_a_name_is_taken_only_once() -> None:
    registry: Registry[str] = Registry()
    first: Ref[str] = Ref("a")
    registry.register("s-7", first)
    with pytest.raises(NameTaken, match=r"^the name 's-7' is taken$"):
        registry.register("s-7", Ref("b"))
    assert registry.whereis("s-7") is first


def test_an_old_registration_does_not_remove_its_successor() -> None:
    registry: Registry[str] = Registry()
    old = registry.register("s-7", Ref("old"))
    old.remove()
    successor: Ref[str] = Ref("new")
    registry.register("s-7", successor)
    old.remove()
    assert registry.whereis("s-7") is successor
