"""Names that are taken without a closer look are names that a closer look would take."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from affix_server.errors import InvalidParamsError
from affix_server.validation import Checks, are_plain, is_plain

_pieces = st.sampled_from(
    ["a", "Z9", ".", "_-", ":", " ", "é", "\n", "\x7f", "\x85", "\u2028", "\ue000", "x" * 100, ""]
)
_names = st.lists(_pieces, max_size=3).map("".join)


def _is_taken(task_id: str, key: str) -> bool:
    checks = Checks()
    checks.task_id(task_id)
    checks.key(key)
    try:
        checks.done()
    except InvalidParamsError:
        return False
    return True


@given(names=st.lists(st.tuples(_names, _names), min_size=1, max_size=4))
@example([("t" * 128, "k" * 100)])
@example([("t" * 129, "k")])
@example([("t", "k" * 101)])
@example([("t", "k"), ("t", "")])
def test_what_is_plain_is_right(names: list[tuple[str, str]]) -> None:
    if are_plain(*zip(*names, strict=True)):
        assert all(_is_taken(*name) for name in names)
    for name in names:
        assert not is_plain(*name) or _is_taken(*name)


@given(
    task_id=st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True), key=st.text("kKé漢 :/-", min_size=1, max_size=100)
)
def test_what_most_are_called_is_plain(task_id: str, key: str) -> None:
    assert is_plain(task_id, key)
    assert are_plain([task_id] * 2, [key] * 2)
