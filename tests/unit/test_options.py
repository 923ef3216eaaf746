"""The declaration of options, and everything that is made from it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from ttg import units
from ttg.cli import arguments, build_parser
from ttg.errors import SettingsError
from ttg.kube.layout import Sweep
from ttg.options import AGAIN, NEW, EntryPoint, Kind, Option, Options, as_words, choose, every_option, options_at
from ttg.run import reference

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def typed(*words: str) -> dict[str, Any]:
    """What a command line gives."""
    return arguments.given(build_parser().parse_args(words))


@pytest.fixture
def dummy(monkeypatch: pytest.MonkeyPatch) -> Option:
    """An option more, declared in the one place."""
    option = Option({*NEW, *AGAIN}, Kind("N", units.whole_number), "does nothing", 7, group="execution", sent=True)
    option.__set_name__(Options, "dummy_depth")
    monkeypatch.setattr(Options, "dummy_depth", option, raising=False)
    return option


@pytest.mark.usefixtures("dummy")
def test_an_option_that_is_declared_is_everywhere() -> None:
    for words in (["run", "m:f"], ["resume"], ["retry", "last"], ["kube", "run", "m:f"]):
        assert typed(*words, "--dummy-depth", "3") == typed(*words, "--dummy-depth=3") == {"dummy_depth": "3"}
    chosen: Any = choose(EntryPoint.API_RUN, {"dummy_depth": 3})
    assert chosen.dummy_depth == 3
    assert choose(EntryPoint.API_RUN, {}).dummy_depth == 7  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="did you mean dummy_depth"):
        choose(EntryPoint.API_RUN, {"dummy_dept": 3})
    with pytest.raises(SettingsError, match="--dummy-depth: expected a whole number, got 'x'"):
        choose(EntryPoint.RUN, {"dummy_depth": "x"})
    sweep = Sweep("r", "m:f", chosen=chosen)
    assert "--dummy-depth=3" in sweep.words
    assert sweep.words_to_resume == ["--dummy-depth=3"]
    assert "| `--dummy-depth N` | does nothing (default: 7) |" in reference.page()


@pytest.mark.usefixtures("dummy")
def test_help_of_a_function_is_made_from_the_declaration() -> None:
    def run(space: Any, **options: Any) -> None:
        """Runs."""

    reference.show_options(run, EntryPoint.API_RUN)
    assert inspect.signature(run).parameters["dummy_depth"].default == 7
    assert "``dummy_depth`` (N): does nothing (default: 7)" in (run.__doc__ or "")


def test_the_page_is_what_is_declared() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.page(), "run `python -m ttg.run.reference > docs/options.md`"


def test_without_options_there_are_the_defaults() -> None:
    chosen = choose(EntryPoint.RUN, {"workers": None})
    assert (chosen.workers, chosen.slots, chosen.replace, chosen.on, vars(chosen)) == (None, 1, True, "here", {})


EXAMPLES = [
    ("timeout", "2min", 120.0, "--timeout=120s"),
    ("retry_delay", "0.5ms", 0.0005, "--retry-delay=0.0005s"),
    ("memory", "2g", 2 << 30, "--memory=2G"),
    ("keep_results", "1000", 1000, "--keep-results=1000"),
    ("max_failures", "2.5%", units.Share(2.5), "--max-failures=2.5%"),
    ("max_failures", "12", 12, "--max-failures=12"),
    ("priority", "-3", -3, "--priority=-3"),
    ("zip", True, True, "--zip"),
    ("params", "my file.csv", Path("my file.csv"), "--params=my file.csv"),
]


@pytest.mark.parametrize(("name", "given", "value", "word"), EXAMPLES)
def test_what_was_read_can_be_said_again(name: str, given: Any, value: Any, word: str) -> None:
    chosen = choose(EntryPoint.RUN, {name: given})
    assert getattr(chosen, name) == value
    assert as_words(chosen, EntryPoint.RUN) == [word]
    assert vars(choose(EntryPoint.RUN, typed("run", "m:f", word))) == {name: value}
    assert vars(choose(EntryPoint.RUN, {name: value})) == {name: value}, "a value is read as its text is"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "0"), ("timeout", -1), ("timeout", float("nan")), ("timeout", True), ("timeout", [1]),
        ("checkpoint", 0), ("retry_delay", "31 days"), ("retry_delay", "721h"), ("retries", -1), ("retries", 1.5),
        ("memory", "1M"), ("memory", "-1G"), ("max_failures", "101%"), ("max_failures", -1), ("max_failures", 0.5),
        ("workers", 10**6), ("workers", True), ("slots", 0), ("chunk_size", 0), ("sample", "many"),
        ("run_id", "../x"), ("run_id", "x" * 101), ("run_id", ""), ("broker", "http://x"), ("method", "grid"),
        ("vectorized", "yes"), ("namespace", ""), ("keep_results", "-1"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_what_was_expected(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match="expected "):
        choose(EntryPoint.RUN, {name: value})


def test_old_names_go_on_and_exclude_the_new_ones() -> None:
    assert choose(EntryPoint.API_RUN, {"timeout_seconds": "1min"}).timeout == 60.0
    with pytest.raises(SettingsError, match="timeout and timeout_seconds are one option"):
        choose(EntryPoint.API_RUN, {"timeout": 1, "timeout_seconds": 1})
    with pytest.raises(SettingsError, match="ttg run has no option timeout_seconds"):
        choose(EntryPoint.RUN, {"timeout_seconds": 1})


@pytest.mark.parametrize("entry", EntryPoint, ids=lambda entry: entry.name)
def test_every_option_applies_or_is_refused_by_name(entry: EntryPoint) -> None:
    here = list(options_at(entry))
    assert here
    for option in every_option():
        if option not in here and option.help:
            with pytest.raises((SettingsError, TypeError), match=f"{option.called(entry)} does not go with"):
                choose(entry, {option.name: "1"})


def test_names_are_distinct() -> None:
    for entry in EntryPoint:
        names = [
            name for option in options_at(entry) for name in (option.flag(entry), option.short, option.old) if name
        ]
        assert len(names) == len(set(names)), entry
