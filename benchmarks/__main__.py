"""``python -m benchmarks [WORKLOAD …]``: TTG and its peers, interleaved in one run."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import environment
from benchmarks.job import Measurement
from benchmarks.measure import measure
from benchmarks.peers import PEERS
from benchmarks.report import markdown
from benchmarks.schedule import Plan, carry_out, needs_peer_environment, save_json, select
from benchmarks.workloads import WORKLOADS


def main() -> int:
    args = parse()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled, not at each start of each process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave through the `finally` that ends every process
    jobs = select([WORKLOADS[name] for name in args.workloads or WORKLOADS], args.peers, args.timing, args.quick)
    if not jobs:
        print("Nothing to measure: the chosen workloads have no job for these --peers and --timing.", file=sys.stderr)
        return 2
    if needs_peer_environment(jobs):
        environment.install()
    budget = args.time_budget * 60 if args.time_budget else None
    plan = Plan(jobs, repeats=args.repeats or (1 if args.quick else 5), budget_seconds=budget)
    args.out.mkdir(parents=True, exist_ok=True)
    found = carry_out(plan, measure, say, saver(args.out, plan))
    if environment.is_installed():
        draw(args.out)
    say(f"Report: {args.out / 'report.md'}")
    return exit_code(found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure TTG beside its peers, interleaved in one run; every value is verified. "
        "Leaves results.json, report.md and report.png, brought up to date after each measurement.",
    )
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"any of {', '.join(WORKLOADS)} (default: all)"
    )
    parser.add_argument(
        "--peers", type=names_of_peers, metavar="A,B,…", help=f"any of {', '.join(PEERS)} (default: all)"
    )
    parser.add_argument(
        "--timing", choices=("steady", "cold", "client"), help="only jobs timed this way (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repeat: shows that all works, no figures")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds over all jobs (default: 5; 1 with --quick)")
    parser.add_argument("--time-budget", type=float, metavar="MINUTES", help="start nothing that would end later")
    parser.add_argument(
        "--out", type=Path, default=Path("results/benchmark"), metavar="DIR", help="default: %(default)s"
    )
    args = parser.parse_args()
    if unknown := [name for name in args.workloads if name not in WORKLOADS]:
        parser.error(f"unknown workload {unknown[0]!r}: expected any of {', '.join(WORKLOADS)}")
    return args


def names_of_peers(text: str) -> set[str]:
    """``ttg`` stands for itself; unknown names are refused with the list of known ones."""
    names = set(text.split(","))
    if unknown := sorted(names - set(PEERS)):
        raise argparse.ArgumentTypeError(f"unknown peer {unknown[0]!r}: expected any of {', '.join(PEERS)}")
    return names


def say(text: str) -> None:
    print(text, flush=True)


def saver(out: Path, plan: Plan) -> Callable[[list[Measurement]], None]:
    """Write results and report after each measurement, so that nothing is lost when the run is interrupted."""
    machine = environment.describe_machine() | {"repeats_asked_for": plan.repeats}

    def save(found: list[Measurement]) -> None:
        save_json(out / "results.json", machine, found)
        (out / "report.md").write_text(markdown(machine, found))

    return save


def draw(out: Path) -> None:
    command = [
        str(environment.peer_python()),
        "-m",
        "benchmarks.plot",
        str(out / "results.json"),
        str(out / "report.png"),
    ]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(environment.ROOT)})


def exit_code(found: list[Measurement]) -> int:
    """1 when TTG or the limit failed anywhere. A peer that fails is a finding, not an error of ours."""
    ours = [each for each in found if not PEERS[each.job.peer].installed]
    return int(any(each.status != "ok" and each.job.peer.startswith(("ttg", "plain")) for each in ours))


if __name__ == "__main__":
    sys.exit(main())
