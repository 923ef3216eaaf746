"""The command that prints user and password: what it may say, when it is run, and what is told when it fails."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest

from ttg.brokers import credentials_command
from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Credentials, Login
from ttg.brokers.credentials_command import read_answer
from ttg.errors import AccessRefused, BrokerError, BrokerRefused, BrokerUnavailable, SettingsError
from ttg.options import EntryPoint, choose
from ttg.run.services import _broker_for_commands
from ttg.settings import read_settings
from ttg.worker.launching import _environment
from ttg.worker.limits import reap_orphans
from waiting import eventually

URL = "redis://who:old@h"


class Script:
    """A command that counts how often it was run and prints what its file says."""

    def __init__(self, folder: Path) -> None:
        self._runs, self._says, self._file = folder / "runs", folder / "says", folder / "command"
        self.says("echo first")

    def says(self, shell: str) -> None:
        self._says.write_text(f"echo x >> {shlex.quote(str(self._runs))}; {shell}\n")

    @property
    def runs(self) -> int:
        return len(self._runs.read_text().split()) if self._runs.exists() else 0

    def credentials(self, url: str = URL) -> Credentials:
        return Credentials(BrokerConfig(url, credentials_command=f"sh {shlex.quote(str(self._says))}"))


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


@pytest.mark.parametrize(
    ("output", "user", "password", "seconds"),
    [
        (b"pass word\n", "", "pass word", float("inf")),
        (b'{"password": "p"}', "", "p", float("inf")),
        (b' {"username": "u", "password": "p", "expires_in": 900}\n', "u", "p", 900.0),
    ],
)
def test_what_a_command_may_print(output: bytes, user: str, password: str, seconds: float) -> None:
    answer = read_answer(output)
    assert (answer.username, answer.password, answer.expires_in) == (user, password, seconds)
    assert password not in repr(answer) + repr(Login(user, password))


@pytest.mark.parametrize(
    "output",
    [b"", b"\n", b"hush\nhush\n", b'{"pass": "hush"}', b'{"password": ""}', b'{"password": "hush", "expires_in": 0}',
     b'{"password": "hush", "x": 1}', b'{"password": "hush"'],
)  # fmt: skip
def test_other_output_is_refused_without_being_quoted(output: bytes) -> None:
    with pytest.raises(ValueError, match="expected one line, the password, or JSON") as caught:
        read_answer(output)
    assert "hush" not in str(caught.value)


async def test_a_refused_login_is_final_only_when_a_new_one_is_refused_too(script: Script) -> None:
    mine = script.credentials()
    script.says("""echo '{"username": "me", "password": "old"}'""")
    taken: list[str] = []

    async def log_in(login: Login) -> None:
        taken.append(f"{login.user} {login.password}")
        if "new" not in login.password:
            raise AccessRefused(login.user)

    with pytest.raises(AccessRefused):
        await mine.logged_in(log_in, AccessRefused)
    assert (taken, script.runs) == (["me old", "me old"], 2)
    script.says("echo new")
    await asyncio.gather(*(mine.logged_in(log_in, AccessRefused) for _ in range(3)))
    assert (taken[-1], script.runs) == ("who new", 3), "who is asked at once asks once, and the URL names the user"


async def test_an_answer_is_asked_for_again_before_it_expires(script: Script) -> None:
    mine = script.credentials()
    script.says("""echo '{"password": "first", "expires_in": 1}'""")
    first, renewed = await mine.current(), []
    mine.on_renewed = renewed.append
    script.says("""echo '{"password": "second", "expires_in": 900}'""")

    async def heard() -> list[Login]:
        return renewed

    await eventually(heard)
    assert renewed[0] is await mine.current()
    assert (renewed[0].password, script.runs) == ("second", 2)
    assert mine.is_old(first)
    assert not mine.is_old(renewed[0])
    mine.close()


async def test_a_command_that_fails_is_final_before_a_login_of_it_was_taken_and_passing_after(script: Script) -> None:
    mine = script.credentials()
    script.says("echo no vault >&2; exit 3")

    async def log_in(login: Login) -> None:
        assert login.password

    with pytest.raises(BrokerRefused, match=r"command sh \(TTG_CREDENTIALS_COMMAND\) ended with exit code 3: no vault"):
        await mine.logged_in(log_in, AccessRefused)
    script.says("echo good")
    await mine.logged_in(log_in, AccessRefused)
    script.says("exit 3")

    async def refuse(login: Login) -> None:
        raise AccessRefused(login.user)

    with pytest.raises(BrokerUnavailable, match="exit code 3"):
        await mine.logged_in(refuse, AccessRefused)


async def test_a_command_that_hangs_is_ended_with_what_it_started(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials_command, "ANSWER_SECONDS", 0.3)
    script.says("echo asking >&2; sleep 1000 & wait")
    with pytest.raises(BrokerError, match="did not end within 0 s: asking"):
        await script.credentials().current()


async def test_a_worker_that_reaps_orphans_leaves_the_end_of_the_command_to_us(script: Script) -> None:
    mine = script.credentials()
    script.says("sleep 0.5 & exit 3")  # what it prints goes on for longer than it lives
    asking = asyncio.ensure_future(mine.current())

    async def has_ended() -> bool:
        return any(_state(pid) == "Z" for pid in mine._processes)

    await eventually(has_ended)
    reap_orphans(mine._processes)
    with pytest.raises(BrokerRefused, match="exit code 3"):
        await asking


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_retry_from_the_dashboard_asks_the_same_command() -> None:
    environment = _broker_for_commands(BrokerConfig(URL, credentials_command="cat x"))
    assert environment["TTG_CREDENTIALS_COMMAND"] == "cat x"
    assert "TTG_CREDENTIALS_COMMAND" not in _broker_for_commands(BrokerConfig(URL))


async def test_a_program_that_is_not_there_is_named() -> None:
    mine = Credentials(BrokerConfig(URL, credentials_command="/no/such/program --token hush"))
    with pytest.raises(BrokerRefused, match="No such file or directory") as caught:
        await mine.current()
    assert "/no/such/program" in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_without_a_command_the_url_says_it_and_embedded_servers_have_no_other(script: Script) -> None:
    plain = await Credentials(BrokerConfig("amqp://u:p%40@h")).current()
    embedded = await script.credentials("unix:///run/x").current()
    assert (plain.user, plain.password, embedded.password, script.runs) == ("u", "p@", "", 0)


def test_nobody_reads_the_command_or_the_password_where_they_have_no_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTG_CREDENTIALS_COMMAND", "cat /secret/file")
    settings = read_settings()
    assert settings.broker_config(URL).credentials_command == "cat /secret/file"
    assert "TTG_CREDENTIALS_COMMAND" not in _environment(), "user code could run it"
    assert not {word for word in ("old", "secret") if word in repr(settings.broker_config(URL))}


def test_a_command_that_cannot_be_one_is_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="TTG_CREDENTIALS_COMMAND: No closing quotation"):
        read_settings({"TTG_CREDENTIALS_COMMAND": "cat 'x"})
    with pytest.raises(SettingsError, match="--credentials-command: No closing quotation"):
        choose(EntryPoint.RUN, {"credentials_command": "cat 'x"})
