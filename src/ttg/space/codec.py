"""Spaces to JSON and back: tagged, strict, and never larger than a run's specification may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ttg.errors import MessageError, SpaceError
from ttg.messages.parameters import EnumMember, MemberOf, enums_in
from ttg.space.base import Concat, Product, Space
from ttg.space.distributions import Choice
from ttg.space.forms import AnyForm, ConcatForm, ProductForm, RowsForm, SampleForm, ZipForm
from ttg.space.kinds import AbsentRows, Sampled, Zipped


def space_to_json(space: Space) -> dict[str, Any]:
    """Plain JSON data that says everything about a computable space; of rows, only names, number and fingerprint."""
    form: dict[str, Any] = msgspec.to_builtins(space.form())
    return form


def space_from_json(
    data: Mapping[str, Any], sources: Iterable[Space] = (), member: MemberOf = EnumMember.itself
) -> Space:
    """The space that :func:`space_to_json` wrote. ``sources`` are spaces of rows to put back in their places, found by
    their content; rows without a source are a space that knows its length and names, but has no values. ``member``
    finds members of enumerations; as it is, they stay what a message says of them.

    Raises :class:`SpaceError` for anything unknown, missing or of another type.
    """
    try:
        form: AnyForm = msgspec.convert(data, AnyForm, strict=True)
        return _build(form, {source.form(): source for source in sources}, member)
    except (msgspec.ValidationError, MessageError, RecursionError) as error:
        raise SpaceError(f"expected the JSON form of a parameter space: {error}") from error


def enums_of(data: Mapping[str, Any]) -> set[str]:
    """Of which enumerations (``module:Qualname``) a space in its JSON form has members."""
    return enums_in(dict(data)).union(*(form.enums for form in rows_forms(data)))


def rows_forms(data: Mapping[str, Any]) -> list[RowsForm]:
    """What a space says of its :meth:`~ttg.space.Space.sources`, in their order."""
    form: AnyForm = msgspec.convert(data, AnyForm, strict=True)
    return list(_rows_in(form))


def _rows_in(form: AnyForm) -> Iterator[RowsForm]:
    if isinstance(form, RowsForm):
        yield form
    elif isinstance(form, ProductForm | ConcatForm):
        for part in form.factors if isinstance(form, ProductForm) else form.parts:
            yield from _rows_in(part)


def mutable_names(form: AnyForm) -> set[str]:
    """The parameters of a computable space that a function may change for the next call."""
    match form:
        case ZipForm():
            return {name for name, axis in form.axes.items() if axis.mutable}
        case SampleForm():
            return {name for name, one in form.distributions.items() if isinstance(one, Choice) and one.axis.mutable}
        case ProductForm():
            return set().union(*map(mutable_names, form.factors))
        case ConcatForm():
            return set().union(*map(mutable_names, form.parts))
    return set()


def _build(form: AnyForm, sources: Mapping[AnyForm, Space], member: MemberOf) -> Space:
    match form:
        case ZipForm():
            return Zipped({name: axis.decoded(member) for name, axis in form.axes.items()})
        case SampleForm():
            distributions = {name: one.decoded(member) for name, one in form.distributions.items()}
            return Sampled(form.count, form.method, form.seed, distributions)
        case RowsForm():
            return sources.get(form) or AbsentRows(form)
        case ProductForm(factors) if factors:
            return Product([_build(factor, sources, member) for factor in factors])
        case ConcatForm(parts) if parts:
            return Concat([_build(part, sources, member) for part in parts])
    raise SpaceError(f"expected the JSON form of a parameter space, got an empty {type(form).__name__[:-4].lower()}")
