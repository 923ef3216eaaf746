"""What TAB offers, in the parser's words and in a real shell; what is suggested for mistyped words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from results_fakes import spec_of

from ttg.cli import build_parser, main
from ttg.cli.completion import SHELLS, candidates, words_of
from ttg.results.folder import RunFolder

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a function and two runs."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sim.py").write_text('def price(spot, vol, *, n=1):\n    "What it costs."\ndef _hidden(): ...\n')
    (tmp_path / "broken.py").write_text("def")
    for run in ("alpha-1", "beta-1"):
        RunFolder.create(tmp_path / run, spec_of(5, run), tmp_path / "home")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ttg res", ["resume", "results"]),
        ("ttg kube u", ["up"]), ("ttg help kube re", ["render"]), ("ttg help ver", ["version"]),
        ("ttg results --for", ["--format"]), ("ttg resume --workers 2 --fo", ["--force"]),
        ("ttg results --format js", ["json", "jsonl"]), ("ttg results --format=cs", ["--format=csv"]),
        ("ttg run sim.py:price --on k", ["kubernetes"]), ("ttg run --on=h", ["--on=here"]),
        ("ttg results ", ["last", "beta-1", "alpha-1"]), ("ttg results al", ["alpha-1"]),
        ("ttg results 'al", ["alpha-1"]),
        ("ttg results --limit 3 be", ["beta-1"]), ("ttg failed show 3 al", ["alpha-1"]),
        ("ttg worker --run al", ["alpha-1"]),
        ("ttg results alpha-1 ", []), ("ttg results --out ", []), ("ttg results --limit ", []),
        ("ttg run ", ["sim.py:price"]), ("ttg run sim.py:price ", ["spot=", "vol=", "n="]),
        ("ttg run --workers 4 sim.py:price spot=1,2 v", ["vol="]), ("ttg run nowhere.py:f ", []),
        ("A=1 /usr/bin/ttg completion f", ["fish"]), ("ttg nonsense x", []), ('ttg results "a b\'', []),
    ],
)  # fmt: skip
def test_what_a_line_may_become(line: str, found: list[str]) -> None:
    assert [word for word, _ in candidates(build_parser(), words_of(line))] == found


def test_hidden_options_are_not_offered() -> None:
    assert "--parent-pipe-fd" not in dict(candidates(build_parser(), ["worker", "--"]))


ASKED = {
    "bash": 'COMP_LINE="ttg run sim.py:pr"; COMP_POINT=${#COMP_LINE}; _ttg; echo "${COMPREPLY[@]}"',
    "fish": "complete -C 'ttg run sim.py:pr'",
}


@pytest.mark.parametrize(("shell", "said"), [("bash", "price"), ("fish", "sim.py:price\tWhat it costs.")])
def test_a_shell_takes_its_script(folder: Path, shell: str, said: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [shell, "-c", f"{SHELLS[shell]}\n{ASKED[shell]}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=30)
    assert (done.stdout.strip(), done.stderr) == (said, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reslts"], "ttg: no command 'reslts': did you mean results? (`ttg --help` lists them)\n"),
        (["res"], "ttg: no command 'res': did you mean resume or results? (`ttg --help` lists them)\n"),
        (["ls"], "ttg: no command 'ls': did you mean runs? (`ttg --help` lists them)\n"),
        (["kube", "dwon"], "ttg: no command 'dwon': did you mean down? (`ttg kube --help` lists them)\n"),
        (["help", "rnu"], "ttg: no command 'rnu': did you mean run"),
        (["sim.py:price", "x=1"], "ttg: no command 'sim.py:price': did you mean `ttg run sim.py:price`?\n"),
        (["xyzzy"], "ttg: no command 'xyzzy': ttg has run, resume, "),
        (["results", "--fromat", "csv"], "ttg: ttg results has no option --fromat: did you mean --format?\n"),
        (["results", "-o", "x"], "ttg: ttg results has no option -o: did you mean --out?\n"),
        (["run", "f.py:f", "-workers", "3"], "ttg: ttg run has no option -workers: did you mean --workers?\n"),
        (["results", "--format", "xml"], "ttg results: --format: expected one of table, csv, json, jsonl, "),
        (["results", "--limit", "x"], "ttg results: --limit: expected a whole number, got 'x'"),
        (["worker", "last"], "ttg worker: unexpected argument 'last': did you mean --run last?"),
        (["results", "a", "b"], "ttg results: unexpected argument 'b' ("),
        (["run", "f.py:f", "--temp", "1"], "ttg: ttg run has no option --temp; it has what `ttg run --help` lists"),
        (["monitor", "--watch", "0"], "ttg monitor: --watch: expected at least 1ms, got '0'"),
    ],
)  # fmt: skip
def test_what_was_probably_meant(words: list[str], said: str, capsys: Said) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "sim.py:price", "data.csv"], "got 'data.csv': did you mean --params data.csv?"),
        (["run", "sim.py:price", "spot", "1", "vol", "2"], "got 'spot': did you mean spot=1?"),
        (["run", "sim.py:price", "spot=1", "vol"], "got 'vol': did you mean vol=1,2,3?"),
        (["run", "sim.py:price", "spot=1", "--out", "t.csv"], "got 't.csv': `ttg results --out t.csv` writes"),
        (["monitor", "--broker", "localhost:6379"], "got 'localhost:6379': did you mean redis://localhost:6379?"),
        (["monitor", "--broker", "mq:5672"], "did you mean amqp://mq:5672?"),
        (["worker", "--run", "alpha-1"], "run alpha-1 has no embedded broker now: it is abandoned"),
    ],
)  # fmt: skip
def test_what_cannot_work_says_what_does(words: list[str], said: str, capsys: Said) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_every_name_for_a_command_leads_to_one(capsys: Said) -> None:
    from ttg.cli.arguments import OTHER_NAMES

    for word, command in OTHER_NAMES.items():
        with pytest.raises(SystemExit):
            main([word])
        assert f"did you mean {command}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--n-jobs", "4"], "did you mean --workers?"),
        (["results", "--json"], "did you mean --format json?"),
        (["results", "--export=x.csv"], "did you mean --out?"),
        (["results", "-n", "5"], "did you mean --limit?"),
        (["failed", "--params"], "--params does not go with ttg failed"),
    ],
)
def test_options_of_other_programs_lead_to_ours(words: list[str], said: str, capsys: Said) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert said in capsys.readouterr().err


def test_help_and_version_as_words(capsys: Said) -> None:
    for words, line in ((["help"], "usage: ttg "), (["help", "kube", "up"], "usage: ttg kube up ")):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(line)
    said = set()
    for words in (["version"], ["--version"], ["-V"]):
        assert main(words) == 0
        said.add(capsys.readouterr().out)
    assert len(said) == 1


def test_help_fits_a_narrow_terminal(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        main(["cleanup", "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60
