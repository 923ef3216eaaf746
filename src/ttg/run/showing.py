"""Progress as ``ttg.run`` and ``ttg.start`` show it: ``progress=`` is ``True``, ``False``, ``"tqdm"`` or a function."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from html import escape
from typing import Any

from ttg.errors import SettingsError
from ttg.run.progress import Progress
from ttg.run.reporter import describe, percent, reporter_for

log = logging.getLogger("ttg.run")

Shown = bool | str | Callable[[Progress], object]


def reporter_of(progress: Shown) -> Any:
    """What is told of the progress, and cannot harm the run. Raises ``SettingsError`` for what cannot be meant."""
    if callable(progress):
        return Harmless(progress)
    if progress == "tqdm":
        return Harmless(bar := TqdmReporter(), bar.close)
    if not isinstance(progress, bool):
        raise SettingsError(f"progress: expected True, False, 'tqdm', or a function of a Progress; got {progress!r}")
    return Harmless(NotebookReporter()) if progress and _in_notebook() else reporter_for(quiet=not progress)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class Harmless:
    """``show``, the caller's or a library's, in the thread of the run; when it raises, nothing is shown any more."""

    def __init__(self, show: Callable[[Progress], object], close: Callable[[], object] = lambda: None) -> None:
        self._show, self._close = show, close
        self._failed = False

    def __call__(self, progress: Progress) -> None:
        self._guarded(lambda: self._show(progress))

    def close(self) -> None:
        """The last one was shown."""
        self._guarded(self._close)

    def _guarded(self, show: Callable[[], object]) -> None:
        if self._failed:
            return
        try:
            show()
        except Exception:
            log.exception("what was given as progress= failed; nothing is shown any more")
            self._failed = True


class TqdmReporter:
    """A bar of tqdm's, which knows notebooks and terminals."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise SettingsError("progress='tqdm' needs tqdm: pip install tqdm, or give True or a function") from error
        self._make, self._bar = tqdm, None

    def __call__(self, progress: Progress) -> None:
        bar = self._bar = self._bar or self._make(total=progress.total, desc=progress.run)
        bar.update(progress.settled - bar.n)
        if progress.dead:
            bar.set_postfix(failed=progress.dead)

    def close(self) -> None:
        """Leave it standing."""
        if self._bar is not None:
            self._bar.close()


class NotebookReporter:
    """One output of a cell, updated in place."""

    def __init__(self) -> None:
        from IPython.display import display

        self._output = display({"text/plain": ""}, raw=True, display_id=True)

    def __call__(self, progress: Progress) -> None:
        words = f"{percent(progress)} %  {describe(progress)}"
        bar = f'<progress value="{progress.settled}" max="{progress.total}"></progress>'
        self._output.update({"text/plain": words, "text/html": f"{bar} <code>{escape(words)}</code>"}, raw=True)
