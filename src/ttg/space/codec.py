"""Spaces to JSON and back: tagged, strict, and never larger than a run's specification may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ttg.errors import SpaceError
from ttg.space.base import Concat, Product, Space
from ttg.space.forms import AnyForm, ConcatForm, ProductForm, RowsForm, SampleForm, ZipForm
from ttg.space.kinds import AbsentRows, Sampled, Zipped


def space_to_json(space: Space) -> dict[str, Any]:
    """Plain JSON data that says everything about a computable space; of rows, only names, number and fingerprint."""
    form: dict[str, Any] = msgspec.to_builtins(space.form())
    return form


def space_from_json(data: Mapping[str, Any], sources: Iterable[Space] = ()) -> Space:
    """The space that :func:`space_to_json` wrote. ``sources`` are spaces of rows to put back in their places, found by
    their content; rows without a source are a space that knows its length and names, but has no values.

    Raises :class:`SpaceError` for anything unknown, missing or of another type.
    """
    try:
        form: AnyForm = msgspec.convert(data, AnyForm, strict=True)
        return _build(form, {source.form(): source for source in sources})
    except (msgspec.ValidationError, RecursionError) as error:
        raise SpaceError(f"expected the JSON form of a parameter space: {error}") from error


def _build(form: AnyForm, sources: Mapping[AnyForm, Space]) -> Space:
    match form:
        case ZipForm():
            return Zipped(form.axes)
        case SampleForm():
            return Sampled(form.count, form.method, form.seed, form.distributions)
        case RowsForm():
            return sources.get(form) or AbsentRows(form)
        case ProductForm(factors) if factors:
            return Product([_build(factor, sources) for factor in factors])
        case ConcatForm(parts) if parts:
            return Concat([_build(part, sources) for part in parts])
    raise SpaceError(f"expected the JSON form of a parameter space, got an empty {type(form).__name__[:-4].lower()}")
