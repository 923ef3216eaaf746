"""Arguments that several sub-commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
    from ttg.results.folder import RunFolder
    from ttg.settings import Settings


def add_broker(parser: argparse.ArgumentParser) -> None:
    """``--broker`` and what belongs to it."""
    group = parser.add_argument_group("broker")
    group.add_argument(
        "--broker",
        metavar="URL",
        help="redis://, rediss://, unix://, amqp:// or amqps:// (default: $TTG_BROKER, or QUEUE_BACKEND with "
        "REDIS_*/RABBITMQ_*; without any, a private embedded Valkey)",
    )
    group.add_argument("--namespace", metavar="NAME", help="prefix of queues and keys (default: $TTG_NAMESPACE or ttg)")


def add_policies(parser: argparse.ArgumentParser) -> None:
    """Retries and limits of a run."""
    group = parser.add_argument_group("failures and limits")
    group.add_argument("--retries", type=int, metavar="N", help="more tries of a failed parameter (default: 3)")
    group.add_argument("--retry-delay", metavar="TIME", help="wait before a retry, e.g. 500ms or 5s (default: 5s)")
    group.add_argument("--timeout", metavar="TIME", help="longest time for one parameter, e.g. 30s (default: none)")
    group.add_argument("--memory", metavar="SIZE", help="most memory for one child process, e.g. 2G (default: none)")
    group.add_argument("--checkpoint", metavar="TIME", help="work at risk when a worker dies (default: 2s)")
    group.add_argument("--max-failures", metavar="N|%", help="stop, resumably, when more parameters failed for good")


def port(text: str) -> int:
    """A port number, for argparse; 0 is any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def broker_of_run(run: str, settings: Settings) -> tuple[RunFolder, str]:
    """A run of this machine and the embedded broker that serves it now; ``SettingsError`` when none does."""
    from ttg.brokers.embedded import url_of
    from ttg.errors import SettingsError
    from ttg.results.folder import find_run

    folder = find_run(run, settings.home)
    if url := url_of(folder.path):
        return folder, url
    raise SettingsError(
        f"run {folder.spec.run} has no embedded broker now: it is {folder.info.state.replace('_', ' ')}, or it uses "
        "another broker: then give --broker URL"
    )


def read_settings(args: argparse.Namespace) -> Settings:
    """The environment's settings, with what the command line overrides."""
    from dataclasses import replace

    from ttg.logs import configure_logging
    from ttg.settings import read_settings as from_environment

    settings = from_environment()
    configure_logging(settings.log_level, settings.log_format)
    if args.namespace:
        settings = replace(settings, namespace=args.namespace)
    return settings
