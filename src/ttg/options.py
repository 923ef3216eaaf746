"""Every option of a run, declared once: what it is called, how it is read, what it means, and where it applies.

Made from :class:`Options`: the arguments of the command line (``ttg.cli.arguments``), the keyword options of
``ttg.run`` and ``ttg.resume``, what a coordinator in a cluster is told, and what people read about all that
(``ttg.run.reference``). Imports nothing heavy: ``ttg --help`` needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ttg import __version__, units
from ttg.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


class EntryPoint(Enum):
    """Where options are given; the value is what people call it."""

    RUN = "ttg run"
    ON_CLUSTER = "ttg run --on kubernetes"
    KUBE_RUN = "ttg kube run"
    KUBE_UP = "ttg kube up"
    KUBE_FETCH = "ttg kube fetch"
    KUBE_DASHBOARD = "ttg kube dashboard"
    KUBE = "ttg kube status, logs, scale, down"
    RESUME = "ttg resume"
    RETRY = "ttg retry"
    PLAN = "ttg plan"
    WORKER = "ttg worker"
    LOOK = "ttg monitor, dashboard, cancel"
    DOCTOR = "ttg doctor"
    CLEANUP = "ttg cleanup"
    API_RUN = "ttg.run()"
    API_RESUME = "ttg.resume()"

    @property
    def is_python(self) -> bool:
        """Options are keyword arguments there."""
        return self in (EntryPoint.API_RUN, EntryPoint.API_RESUME)


CLUSTER = {EntryPoint.ON_CLUSTER, EntryPoint.KUBE_RUN}
TYPED = {EntryPoint.RUN, EntryPoint.PLAN, *CLUSTER}  # the space is written on the command line
SAMPLED = {*TYPED, EntryPoint.API_RUN}
NEW = SAMPLED - {EntryPoint.PLAN}
AGAIN = {EntryPoint.RESUME, EntryPoint.RETRY, EntryPoint.API_RESUME}
ALL = {*SAMPLED, *AGAIN}
LOCAL = {*NEW, *AGAIN} - CLUSTER
HERE = {EntryPoint.RUN, EntryPoint.PLAN, EntryPoint.API_RUN}
SHARED = {*LOCAL, EntryPoint.PLAN, EntryPoint.WORKER}
CONNECTED = {*LOCAL, EntryPoint.WORKER, EntryPoint.LOOK, EntryPoint.DOCTOR, EntryPoint.CLEANUP}
DRIVEN = {*CLUSTER, EntryPoint.KUBE_UP}
FETCHED = {*CLUSTER, EntryPoint.KUBE_FETCH}
OF_BROKER = {*DRIVEN, EntryPoint.KUBE_DASHBOARD}
LOCATED = {*OF_BROKER, EntryPoint.KUBE_FETCH, EntryPoint.KUBE, EntryPoint.CLEANUP}
KUBE_COMMANDS = {entry for entry in EntryPoint if entry.value.startswith("ttg kube ")}
COMMANDS = {EntryPoint.RUN, EntryPoint.RESUME, EntryPoint.RETRY}
SERVING = {*COMMANDS, EntryPoint.WORKER}


class Kind(NamedTuple):
    """How a value is read (see ``ttg.units``) and written. Without a ``metavar`` it is a flag."""

    metavar: str
    read: Callable[[Any], Any]
    write: Callable[[Any], str] = str


def count(least: int | None = 0, most: int | None = None) -> Kind:
    """A whole number."""
    return Kind("N", partial(units.whole_number, least=least, most=most))


def one_of(*choices: str) -> Kind:
    """One of some words."""
    return Kind(f"{{{','.join(choices)}}}", partial(units.one_of, choices))


def _url(value: Any) -> str:
    from ttg.settings import check_url

    return check_url(units.text(value))


def _command(value: Any) -> str:
    from ttg.settings import check_command

    return check_command(units.text(value))


FLAG = Kind("", units.truth)
FILE = Kind("FILE", units.path)
RUN = Kind("RUN", units.text)
NAME = Kind("NAME", units.text)
PORT = Kind("PORT", partial(units.whole_number, least=0, most=65535))
DELAY = Kind("TIME", units.seconds, units.time_text)
TIME = Kind("TIME", partial(units.limited, units.seconds, "1ms", ""), units.time_text)
SIZE = Kind("SIZE", units.size_bytes, units.size_text)
MEMORY = Kind("SIZE", partial(units.limited, units.size_bytes, "16M", ""), units.size_text)
UP_TO_A_MONTH = Kind("TIME", partial(units.limited, units.seconds, "", "720h"), units.time_text)
QUANTITY = Kind("SIZE", units.kubernetes_size)
CPUS = Kind("N", units.kubernetes_cpus)
BOUND = Kind("N|%", units.bound)
DIR = Kind("DIR", units.folder)
ID = Kind("ID", units.run_id)
URL = Kind("URL", _url)
COMMAND = Kind("COMMAND", _command)
PLACE = Kind("PLACE", units.place)
ADDRESS = Kind("ADDRESS", units.text)
INDICES = Kind("INDICES", units.indices)
FUNCTION_OBJECT = Kind("FUNCTION", units.function)
FUNCTIONS = Kind("FUNCTION", units.texts)
PATHS = Kind("PATH", units.paths)
PROGRAMS = Kind("PROGRAM", units.texts)
LABELS = Kind("LABEL", units.labels)
NAMES = Kind("A,B", units.names, ",".join)

PARAMS = "rows of a CSV, JSONL or Parquet file, lines of a .txt, or - for standard input, as parameters"
VECTORIZED = "the function takes columns (NumPy arrays) and returns columns; the default if it is @ttg.vectorized"
WORKERS = "local worker processes (default: one per core), or a cluster's pods (default: 3); 0: none, others join"
FAIL_FAST = "stop, resumably, at the first parameter that failed for good, or when the first ten all fail alike"
KEPT = "collected results kept in the broker (default: 64M; 4M in an embedded one)"
BROKER = (
    "redis://, rediss://, redis+sentinel://, unix://, amqp:// or amqps://, also with several hosts "
    "(docs/brokers.md; default: $TTG_BROKER, or QUEUE_BACKEND with "
    "REDIS_*/RABBITMQ_*; without any, a private embedded Valkey)"
)
CREDENTIALS = (
    "prints the broker's password, or JSON with username, password, expires_in; run again before that expires and when "
    "a login is refused; not for unix:// (default: $TTG_CREDENTIALS_COMMAND)"
)
STORE = (
    "where results and inputs that are not small pass from and to workers: a folder that all machines see, or "
    "s3://bucket/prefix (default: $TTG_STORE, or the run's folder, for workers of this machine)"
)
POD_MEMORY = "memory of a pod (default: 192M and what its children may use; 1G without --memory)"
ALLOWED = "what it may run: sim.py:price, 'models.*:*', '*', or '.' (this folder); may be repeated"
THREADS = "threads of linear algebra and the like per slot (default: $OMP_NUM_THREADS and its like, or 1)"
GPUS = "GPUs per worker: each slot sees one of the visible ones, in turn"
OF_PODS = "what a pod has says its template (docs/kubernetes.md)"
SETUP = "called once in each child before its first call; what it returns is the function's parameter setup"
NEEDS = "only workers that have this label execute it: gpu, mem=large; may be repeated"
LABEL = "what it has, for runs that need it: gpu, mem=large; may be repeated (also: $TTG_LABELS)"
PROGRAMS_ALLOWED = "programs it may run: ./model, python3, 'bin/*', or '*' (default: none); may be repeated"
SHELL = "what follows -- is one line of shell, with the values as words in it"
PROGRAM_OUTPUT = "what a program's standard output is: its last line, all as text, JSON, or nothing"
OF_PROGRAMS = "it goes to ttg.program()"
REPLACED = "Kubernetes replaces pods by itself"
NOT_FROM_PODS = "pods reach nothing but their broker, through which all results travel there"
OWN_NAMESPACE = "the broker of a cluster is TTG's alone; --kube-namespace says where pods go"
OWN_ACCOUNT = "a cluster has a broker of its own, whose account is in a Secret"
IMAGE = f"ttg-worker:v{__version__}"
SENT = "a file or folder that goes along, and lies beside the function's file under its own name; may be repeated"
ON_CLUSTER_ONLY = "it goes with --on kubernetes"
PORT_IN_CLUSTER = "workers and coordinators of a cluster serve metrics on port 9464"
FORWARDED = "`ttg kube dashboard` shows it"


class Option:
    """One option. ``at`` is where it applies; ``sent``: a run on a cluster hands it on to the coordinator there;
    ``instead`` is for those who give it where it does not apply; ``old`` is another name that Python takes. Without
    ``help`` it is none for people."""

    name = ""

    def __init__(
        self,
        at: set[EntryPoint],
        kind: Kind,
        help: str,
        default: Any = None,
        *,
        group: str,
        sent: bool = False,
        instead: str = "",
        old: str = "",
        short: str = "",
    ) -> None:
        self.kind, self.help, self.at, self.default = kind, help, frozenset(at), default
        self.group, self.sent, self.instead, self.old, self.short = group, sent, instead, old, short

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, chosen: object, owner: type) -> Any:
        """The declaration on the class; on an object, where it was not given, the default."""
        return self if chosen is None else self.default

    def flag(self, entry: EntryPoint) -> str:
        """Its name on the command line. All of `ttg kube` is about the cluster: there, the names need not say so."""
        name = self.name.removeprefix("kube_") if entry in KUBE_COMMANDS else self.name
        return f"--{'no-' if self.default is True else ''}{name.replace('_', '-')}"

    def called(self, entry: EntryPoint) -> str:
        """Its name at ``entry``."""
        return self.name if entry.is_python else self.flag(entry)

    def parse(self, value: Any, entry: EntryPoint) -> Any:
        """The typed value; a ``SettingsError`` that names the option when it cannot be one."""
        try:
            return self.kind.read(value)
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{self.called(entry)}: {error}") from None

    def word(self, value: Any) -> str:
        """What says ``value`` on a command line."""
        flag = self.flag(EntryPoint.RUN)
        return f"{flag}={self.kind.write(value)}" if self.kind.metavar else flag

    def explained(self, entry: EntryPoint) -> str:
        """The help, with the default."""
        if self.default is True and not entry.is_python:
            return f"do not {self.help}"
        if self.default is None or isinstance(self.default, bool | tuple):
            return self.help
        return f"{self.help} (default: {self.kind.write(self.default)})"


_space: Any = partial(Option, group="space", sent=True)
_execution: Any = partial(Option, group="execution")
_limit: Any = partial(Option, group="failures and limits", sent=True)
_broker: Any = partial(Option, group="broker")
_output: Any = partial(Option, group="output")
_kubernetes: Any = partial(Option, group="kubernetes", instead=ON_CLUSTER_ONLY)
_worker: Any = partial(Option, {EntryPoint.WORKER}, group="worker")


class Options:
    """The options that were chosen, checked, as attributes: see :func:`choose`. What was not given has its default."""

    def __init__(self, **given: Any) -> None:
        unknown = given.keys() - {option.name for option in every_option()}
        assert not unknown, f"no such option: {unknown}"
        vars(self).update(given)

    def but(self, **changes: Any) -> Options:
        """The same with ``changes``."""
        return Options(**{**vars(self), **changes})

    zip: bool = _space(TYPED, FLAG, "pair the axes instead of combining them", False)
    params: Path | None = _space(TYPED, FILE, PARAMS)
    columns: tuple[str, ...] | None = _space(TYPED, NAMES, "take only these columns of the file")
    sample: int | None = _space(TYPED, count(1), "draw N points from the axes' distributions")
    method: str = _space(TYPED, one_of("random", "lhs", "sobol"), "how to draw them", "random")
    seed: int = _space(SAMPLED, count(None), "of sampling and of seed/rng", 0)

    vectorized: bool = _execution(SAMPLED, FLAG, VECTORIZED, False, sent=True)
    setup: Any = _execution(HERE, FUNCTION_OBJECT, SETUP, instead="do it where the function's module is imported")
    shell: bool = _execution(TYPED, FLAG, SHELL, False, sent=True, instead=OF_PROGRAMS)
    output: str = _execution(
        TYPED, one_of("auto", "text", "json", "none"), PROGRAM_OUTPUT, "auto", sent=True, instead=OF_PROGRAMS
    )
    chunk_size: int | None = _execution(ALL, count(1), "parameters per task (default: automatic)", sent=True)
    priority: int = _execution(NEW, count(None), "higher goes first", 0, sent=True)
    out: Path | None = _execution({*NEW, EntryPoint.KUBE_FETCH}, DIR, "the run's folder (default: ttg-runs/<run id>)")
    run_id: str | None = _execution(NEW, ID, "name of the run (default: made up)")
    workers: int | None = _execution(ALL, count(0, 10_000), WORKERS)
    slots: int = _execution({*ALL, EntryPoint.WORKER}, count(1, 1_000), "child processes per worker", 1)
    threads: int | None = _execution(SHARED, count(1, 10_000), THREADS, instead=OF_PODS)
    gpus: int = _execution(SHARED, count(0, 1_000), GPUS, 0, instead=OF_PODS)
    needs: tuple[str, ...] = _execution({EntryPoint.RUN, EntryPoint.API_RUN}, LABELS, NEEDS, (), instead=OF_PODS)
    replace: bool = _execution(LOCAL, FLAG, "replace a local worker that died", True, instead=REPLACED)
    keep_results: int | None = _execution({*NEW, *AGAIN}, SIZE, KEPT, sent=True)
    store: str | None = _execution({*LOCAL, EntryPoint.DOCTOR}, PLACE, STORE, instead=NOT_FROM_PODS)
    force: bool = _execution(
        AGAIN - {EntryPoint.RETRY}, FLAG, "go on even though the function, or a module it imports, changed", False
    )
    retry_dead: tuple[int, ...] = _execution({EntryPoint.API_RESUME}, INDICES, "dead letters to try again", ())

    retries: int | None = _limit(
        NEW, count(0, 1_000), "more tries of a failed parameter (default: $TTG_MAX_RETRIES or 3)"
    )
    retry_delay: float | None = _limit(
        NEW,
        UP_TO_A_MONTH,
        "wait before a retry, e.g. 500ms (default: $TTG_RETRY_DELAY_MS or 5s)",
        old="retry_delay_seconds",
    )
    timeout: float | None = _limit(
        SAMPLED, TIME, "longest time for one parameter (default: none)", old="timeout_seconds"
    )
    load_timeout: float = _limit(SAMPLED, TIME, "longest time to import the function's module", 600.0)
    memory: int | None = _limit(
        SAMPLED, MEMORY, "most memory for one child (default: none; its part of a pod)", old="memory_bytes"
    )
    checkpoint: float = _limit(SAMPLED, TIME, "work at risk when a worker dies", 2.0, old="checkpoint_seconds")
    max_failures: int | units.Share | None = _limit(
        {*NEW, *AGAIN}, BOUND, "stop, resumably, when more parameters failed for good"
    )
    fail_fast: bool = _limit({*NEW, *AGAIN}, FLAG, FAIL_FAST, False)

    broker: str | None = _broker(CONNECTED, URL, BROKER, instead="a cluster has a broker of its own, see --backend")
    namespace: str | None = _broker(
        CONNECTED, NAME, "prefix of queues and keys (default: $TTG_NAMESPACE or ttg)", instead=OWN_NAMESPACE
    )
    credentials_command: str | None = _broker(CONNECTED, COMMAND, CREDENTIALS, instead=OWN_ACCOUNT)

    quiet: bool = _output({*COMMANDS, *FETCHED}, FLAG, "no progress", False, short="-q")
    json: bool = _output({*COMMANDS, *FETCHED, EntryPoint.PLAN}, FLAG, "print the report as JSON", False)
    dashboard: bool = _output(
        COMMANDS, FLAG, "serve the live dashboard while the run goes on", False, instead=FORWARDED
    )
    metrics_port: int | None = _output(SERVING, PORT, "serve Prometheus metrics, and /healthz", instead=PORT_IN_CLUSTER)
    metrics_host: str = _output(SERVING, ADDRESS, "where metrics are served", "127.0.0.1", instead=PORT_IN_CLUSTER)

    on: str = _kubernetes({EntryPoint.ON_CLUSTER}, one_of("here", "kubernetes"), "where it runs", "here", instead="")
    backend: str = _kubernetes(OF_BROKER, one_of("redis", "rabbitmq"), "the cluster's broker", "redis")
    image: str = _kubernetes(FETCHED, NAME, "the workers' image", IMAGE)
    send: tuple[Path, ...] = _kubernetes(CLUSTER, PATHS, SENT, ())
    cpu: str | None = _kubernetes(CLUSTER, CPUS, "CPUs that a pod asks for, like 2 or 250m (default: one per slot)")
    pod_memory: int | None = _kubernetes(CLUSTER, SIZE, POD_MEMORY)
    kube_namespace: str = _kubernetes(LOCATED, NAME, "the pods' namespace", "ttg")
    kube_context: str | None = _kubernetes(LOCATED, NAME, "the cluster (default: kubectl's current context)")
    broker_storage: str = _kubernetes({EntryPoint.KUBE_UP}, QUANTITY, "the broker's disk", "8Gi", instead="")
    data_storage: str = _kubernetes(CLUSTER, QUANTITY, "disk for datasets", "20Gi")
    storage_class: str | None = _kubernetes(DRIVEN, NAME, "kind of disk (default: the cluster's default)")
    keep: bool = _kubernetes(FETCHED, FLAG, "leave the run's jobs in the cluster when it is done", False)

    run: str | None = _worker(RUN, "help this run of this machine, which uses an embedded broker")
    name: str | None = _worker(NAME, "name in logs and views (default: host-pid)")
    allow: tuple[str, ...] = _worker(FUNCTIONS, ALLOWED, ())
    label: tuple[str, ...] = _worker(LABELS, LABEL, ())
    allow_program: tuple[str, ...] = _worker(PROGRAMS, PROGRAMS_ALLOWED, ())
    until_run: str | None = _worker(RUN, "exit when this run is finished")
    exit_when_idle: float | None = _worker(DELAY, "exit after so long without a task, to the second")
    grace: float = _worker(DELAY, "time to drain after SIGTERM", 8.0)
    parent_pipe_fd: int | None = _worker(count(0), "")
    echo_fd: int | None = _worker(count(0), "")
    log_file: Path | None = _worker(FILE, "")


def every_option() -> Iterator[Option]:
    """As declared."""
    return (value for value in vars(Options).values() if isinstance(value, Option))


DEFAULTS = Options()


def options_at(*entries: EntryPoint) -> Iterator[Option]:
    """Those that apply at one of ``entries``."""
    return (option for option in every_option() if option.at.intersection(entries))


def choose(entry: EntryPoint, given: Mapping[str, Any]) -> Options:
    """The options that were given at ``entry``, as text or Python values; ``None`` is not given.

    Raises ``SettingsError`` for a value that cannot work and for an option that does not apply there; in Python a
    ``TypeError`` for the latter, as any function does.
    """
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        option = _option(entry, name)
        if value is None:
            continue
        if option.name in chosen:
            raise SettingsError(f"{option.name} and {option.old} are one option: give one of them")
        chosen[option.name] = option.parse(value, entry)
    return Options(**chosen)


def _option(entry: EntryPoint, name: str) -> Option:
    for option in options_at(entry):
        if name == option.name or (entry.is_python and name == option.old):
            return option
    error: type[Exception] = TypeError if entry.is_python else SettingsError
    names = [option.called(entry) for option in options_at(entry) if option.help]
    raise error(unknown(entry.value, name, names))


OTHER_NAMES = {
    **dict.fromkeys(
        ("jobs", "n-jobs", "num-workers", "n-workers", "max-workers", "processes", "parallel", "j"), "workers"
    ),
    **dict.fromkeys(("order-by", "sort-by"), "sort"),
    **dict.fromkeys(("filter", "query"), "where"),
    **dict.fromkeys(("fields", "select"), "columns"),
    **dict.fromkeys(("export", "save"), "out"),
    **{form: f"format {form}" for form in ("csv", "json", "jsonl", "parquet", "arrow")},
    **dict.fromkeys(("exitfirst", "x"), "fail-fast"),
    "head": "limit",
    "n": "limit",
}
"""What people type who know other programs."""


def unknown(where: str, name: str, names: Iterable[str]) -> str:
    """What to say of an option that ``where`` does not take; it takes ``names``."""
    names = list(names)
    if meant := _meant(name, names):
        return f"{where} has no option {name}: did you mean {meant}?"
    for option in every_option():
        called = option.flag(EntryPoint.RUN)
        if option.help and name in (option.name, called):
            places = ", ".join(place.value for place in EntryPoint if place in option.at)
            called = option.name if where.endswith("()") else called
            return f"{called} does not go with {where}: {option.instead or f'it is for {places}'}"
    close = _alike(name, names)
    known = ", ".join(names) if len(names) < 12 or where.endswith("()") else f"what `{where} --help` lists"
    advice = f": did you mean {' or '.join(close)}?" if close else f"; it has {known}"
    return f"{where} has no option {name}{advice}"


def _meant(name: str, names: list[str]) -> str:
    """The one of ``names`` that other programs call ``name``, or nothing."""
    word, _, value = OTHER_NAMES.get(name.strip("-").replace("_", "-"), "").partition(" ")
    known = next((known for known in names if word and known.lstrip("-").replace("_", "-") == word), "")
    return f"{known} {value}" if known and value else known


def _alike(name: str, names: list[str]) -> list[str]:
    """Those of ``names`` that were probably meant; of ``-o``, those that begin with an o."""
    bare = {known.lstrip("-"): known for known in names if known != "--help"}
    if len(name) == 2 and name.startswith("-"):
        return [known for word, known in bare.items() if word.startswith(name[1])][:3]
    return [bare[word] for word in get_close_matches(name.lstrip("-"), bare, 1)]


def as_words(chosen: Options, entry: EntryPoint) -> list[str]:
    """What says the same to the ``ttg run`` or ``ttg resume`` of a coordinator in a cluster."""
    given = vars(chosen)
    sent = (option for option in options_at(entry) if option.sent)
    return [
        option.word(given[option.name]) for option in sent if given.get(option.name, option.default) != option.default
    ]
