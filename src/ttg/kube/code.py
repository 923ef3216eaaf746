"""A user's own files on their way into the pods: gathered, packed, and cut into ConfigMaps that all pods mount."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ttg.errors import InputError
from ttg.kube.archive import Archive, check_size, pack, sign
from ttg.kube.jobs import PART_BYTES, code_names
from ttg.kube.layout import Sweep
from ttg.kube.objects import Object, labels, resource
from ttg.options import FILE, every_option

NOT_SENT = ("__pycache__", "ttg-runs")
MOST_PARTS = 10
"""Every object is in the cluster's own database, which is made for small ones."""


def with_files(sweep: Sweep) -> Sweep:
    """The sweep as it is inside the pods, where the local files that it names lie in the working folder.

    A function in a local file, the files that options name, and what ``--send`` names go along, besides those that the
    sweep has already (what the function's file imports); a function in a module must be in the image, or be sent.
    """
    files, function = dict(sweep.files), sweep.function
    path, _, name = function.rpartition(":")
    if path.endswith(".py"):
        function = f"{_take(Path(path), files)}:{name}"
    named = {option.name: getattr(sweep.chosen, option.name) for option in every_option() if option.kind is FILE}
    inside = {name: Path(_take(path, files)) for name, path in named.items() if path is not None}
    for sent in sweep.chosen.send:
        for place, file in gathered(sent).items():
            _put(place, file, files)
    sweep = replace(sweep, function=function, chosen=sweep.chosen.but(**inside), files=files)
    return replace(sweep, archive=_packed(files)) if files else sweep


def _packed(files: Mapping[str, Path]) -> Archive:
    archive = pack(files)
    check_size(files, len(archive.packed), MOST_PARTS * PART_BYTES)
    return archive


def _take(path: Path, files: dict[str, Path]) -> str:
    if not path.is_file():
        raise InputError(f"expected a file to send to the cluster, found none at {path}")
    _put(path.name, path, files)
    return path.name


def _put(place: str, path: Path, files: dict[str, Path]) -> None:
    if not files.setdefault(place, path).samefile(path):
        raise InputError(f"{path} and {files[place]} have one name in the cluster: rename one of them")


def with_packages(modules: Mapping[str, Path]) -> dict[str, Path]:
    """The files of ``modules`` (dotted names) by their places. A package, which is a folder with an ``__init__.py``,
    goes whole: it may have data, and modules that are imported by names which only running it makes up."""
    files: dict[str, Path] = {}
    for module, file in modules.items():
        *packages, name = module.split(".") if file.name != "__init__.py" else [*module.split("."), "__init__"]
        top = file.parents[len(packages) - 1] if packages else file
        whole = packages and (top / "__init__.py").is_file()
        files.update(gathered(top) if whole else {"/".join([*packages, f"{name}.py"]): file})
    return files


def gathered(path: Path) -> dict[str, Path]:
    """A file, or the files of a folder, by their places in the pods: below its own name, or, of ``.``, below none. What
    is hidden (``.git``), made by Python (``__pycache__``, virtual environments) or by us (``ttg-runs``) stays.
    ``InputError`` for what is neither file nor folder, and for a link that leads out of the folder."""
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise InputError(f"--send: expected a file or a folder, found none at {path}")
    above = Path(path.name if path.name != ".." else path.resolve().name)
    found = {(above / file.relative_to(path)).as_posix(): file for file in _files_in(path, path.resolve())}
    if not found:
        raise InputError(f"--send: expected files in {path}, found none")
    return found


def _files_in(folder: Path, root: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in NOT_SENT or (path / "pyvenv.cfg").exists():
            continue
        if not path.resolve().is_relative_to(root):
            raise InputError(f"{path} is a link out of {root}, to {path.resolve()}: put a copy in its place")
        if path.is_dir() and not path.is_symlink():
            yield from _files_in(path, root)
        elif path.is_file():
            yield path
        else:
            what = "a link to a folder" if path.is_dir() else "neither"
            raise InputError(f"expected files and folders to send to the cluster, found {what}: {path}")


def code_configs(sweep: Sweep, secret: bytes) -> list[Object]:
    """The ConfigMaps with the sweep's archive, signed with ``secret``."""
    assert sweep.archive is not None
    data, marks = sign(sweep.archive.packed, secret, sweep.full_name), labels("ttg-code", "code", run=sweep.run)
    return [
        resource("v1", "ConfigMap", name, marks, binaryData={f"part-{place:03}": base64.b64encode(part).decode()})
        for place, name in enumerate(code_names(sweep))
        for part in [data[place * PART_BYTES : (place + 1) * PART_BYTES]]
    ]
