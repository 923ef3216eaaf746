"""From what a message says of a member of an enumeration to the member itself. Imports nothing that a message names."""

from __future__ import annotations

import enum
import sys
from typing import Any

from ttg.errors import FunctionError
from ttg.messages.parameters import EnumMember


def loaded_enum(name: str) -> type[enum.Enum]:
    """The enumeration ``module:Qualname``; ``FunctionError`` unless it is loaded here, with the function or before."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        # Not getattr: a module or class may answer that by running code of its own, or by importing something.
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if isinstance(found, type) and issubclass(found, enum.Enum):
        return found
    raise FunctionError(
        f"a parameter is a member of {qualname}, and the function's module does not load {module}: import {qualname} "
        "where the function is defined, in a file"
    )


def loaded_member(member: EnumMember) -> enum.Enum:
    """The member, of an enumeration that is loaded here."""
    found = loaded_enum(member.enum)
    try:
        return found.__members__[member.name]
    except KeyError:
        names = ", ".join(found.__members__)
        raise FunctionError(f"{member.enum} has no member {member.name!r} here: it has {names}") from None
