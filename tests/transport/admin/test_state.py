"""A patch makes the new state of the old one."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.admin.states import session, state
from transport.admin.state import merge_patch

VALUES = st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
DOCUMENTS = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner | VALUES, max_size=3),
    max_leaves=6,
)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, as its own pseudocode says it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_makes_one_document_of_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merged(old, merge_patch(old, new)) == new


@given(DOCUMENTS)
def test_nothing_changed_is_an_empty_patch(document: dict[str, Any]) -> None:
    assert merge_patch(document, document) == {}


def test_of_a_thousand_sessions_only_what_changed_is_told() -> None:
    before = state(1000)
    later = msgspec.structs.replace(session(7), received=99.0, backend="")
    sessions = {**before.sessions, "call-0007": later}
    del sessions["call-0008"]
    after = msgspec.structs.replace(before, sessions=sessions, waiting=1)
    patch = merge_patch(msgspec.to_builtins(before), msgspec.to_builtins(after))
    changed = {"call-0007": {"received": 99.0, "backend": None}, "call-0008": None}
    assert patch == {"waiting": 1, "sessions": changed}


def test_no_state_holds_a_null_which_in_a_patch_would_remove() -> None:
    assert b"null" not in msgspec.json.encode(state(20))
