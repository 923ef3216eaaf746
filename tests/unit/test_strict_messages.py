"""Messages are decoded strictly: another type is an error that names the field, never a guess."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ttg.errors import MessageError
from ttg.messages import Task, decode, encode

GOOD: dict[str, Any] = {"run": "r", "id": "t", "ranges": [[0, 3]], "attempt": 2}


def test_what_was_encoded_is_decoded() -> None:
    task = decode(json.dumps(GOOD), Task)
    assert task == Task("r", "t", ((0, 3),), attempt=2)
    assert decode(encode(task), Task) == task


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attempt", "2"),
        ("attempt", 2.5),
        ("attempt", None),
        ("run", 7),
        ("ranges", [["0", "3"]]),
        ("ranges", [[0, 3, 4]]),
        ("exclusive", 1),
        ("exclusive", "true"),
    ],
)
def test_a_value_of_another_type_is_refused(field: str, value: object) -> None:
    with pytest.raises(MessageError, match=rf"expected a Task: .*\$\.{field}"):
        decode(json.dumps({**GOOD, field: value}), Task)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(MessageError, match="unknown field `colour`"):
        decode(json.dumps({**GOOD, "colour": "red"}), Task)
