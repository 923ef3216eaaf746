"""Which dead letters a person means: by index, by the number of their cause, or by a part of its name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from ttg.errors import InputError
from ttg.results.dead_letters import Cause


def parse_indices(text: str) -> Iterator[range]:
    """``1,2,5-9``: single indices and closed ranges."""
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"--index: expected indices like 1,2,5-9, got {text!r}")
        yield range(int(first), int(last or first) + 1)


def chosen_cause(causes: Sequence[Cause], text: str) -> Cause:
    """The cause with the number (1-based, as listed) or with ``text`` in its error or place."""
    if text.isdecimal():
        if not 1 <= int(text) <= len(causes):
            raise InputError(f"--group: expected a number from 1 to {len(causes)}, got {text}")
        return causes[int(text) - 1]
    found = [cause for cause in causes if text.lower() in f"{cause.error} {cause.place}".lower()]
    if len(found) != 1:
        known = ", ".join(cause.error for cause in causes[:5])
        raise InputError(f"--group: expected one cause that contains {text!r}, got {len(found)} of {known}")
    return found[0]


def chosen_indices(causes: Sequence[Cause], index: str | None, group: str | None) -> list[int]:
    """The dead parameters that are meant; ``InputError`` when there are none."""
    dead = {number for cause in causes for number in cause.indices}
    wanted: Iterable[int] = dead
    if group is not None:
        wanted = chosen_cause(causes, group).indices
    elif index is not None:
        wanted = chain.from_iterable(parse_indices(index))
    chosen = sorted(dead.intersection(wanted))
    if not chosen:
        those = f"none of its {len(dead):,} dead letters is meant" if dead else "the run has no dead letters"
        raise InputError(f"nothing to retry: {those}")
    return chosen
