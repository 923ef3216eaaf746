"""The JSON form of spaces: tagged, strictly decoded, small. It travels in a run's specification."""

from __future__ import annotations

from typing import Literal

import msgspec

from ttg.space.axes import AnyAxis
from ttg.space.distributions import AnyDistribution

Method = Literal["random", "lhs", "sobol"]


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="space"):
    """Base of the forms; the field ``space`` tells them apart."""


class ZipForm(Form, frozen=True, tag="zip"):
    """Axes of equal length, taken in step."""

    axes: dict[str, AnyAxis]


class ProductForm(Form, frozen=True, tag="product"):
    """Every combination; the last factor varies fastest."""

    factors: tuple[AnyForm, ...]


class ConcatForm(Form, frozen=True, tag="concat"):
    """One space after the other, all with the same names."""

    parts: tuple[AnyForm, ...]


class SampleForm(Form, frozen=True, tag="sample"):
    """``count`` points drawn from distributions, reproducible from ``seed``."""

    count: int
    method: Method
    seed: int
    distributions: dict[str, AnyDistribution]


class RowsForm(Form, frozen=True, tag="rows", omit_defaults=True):
    """Rows that do not travel here: their names, their number, a fingerprint of their content, and the enumerations
    that have members among them."""

    names: tuple[str, ...]
    count: int
    fingerprint: str
    enums: tuple[str, ...] = ()


AnyForm = ZipForm | ProductForm | ConcatForm | SampleForm | RowsForm
