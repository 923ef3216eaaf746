"""Parameter spaces: lazy, indexable, ordered. See :class:`Space` for what they promise."""

from ttg.space.base import Space
from ttg.space.build import (
    choice,
    glob,
    grid,
    linspace,
    logspace,
    loguniform,
    normal,
    range_,
    rows,
    sample,
    uniform,
    zip_,
)
from ttg.space.build import range_ as range
from ttg.space.build import zip_ as zip
from ttg.space.codec import space_from_json, space_to_json
from ttg.space.expressions import parse_axis, parse_space
from ttg.space.files import from_file

__all__ = [
    "Space",
    "choice",
    "from_file",
    "glob",
    "grid",
    "linspace",
    "logspace",
    "loguniform",
    "normal",
    "parse_axis",
    "parse_space",
    "range",
    "range_",
    "rows",
    "sample",
    "space_from_json",
    "space_to_json",
    "uniform",
    "zip",
    "zip_",
]
