"""What ``ttg doctor`` says about a Redis or Valkey server. Reads settings, changes none."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from ttg.brokers.redis.keys import Keys
from ttg.brokers.redis.link import Link
from ttg.clock import unix_time
from ttg.errors import BrokerRefused

Finding = tuple[str, str, str, str]

LEAST_FREE_SHARE = 0.2
MOST_CLOCK_SECONDS = 5.0
MIB = 1 << 20


async def diagnose(link: Link, keys: Keys) -> list[Finding]:
    """Each check gives findings ``(level, subject, text, advice)``; one that may not look gives a note."""
    checks = {
        "eviction": _eviction(link),
        "persistence": _persistence(link),
        "memory": _memory(link),
        "recovery": _recovery(link),
        "clock": _clock(link),
        "keys": _keys(link, keys),
    }
    findings: list[Finding] = []
    for subject, check in checks.items():
        try:
            findings += [(level, subject, text, advice) async for level, text, advice in check]
        except BrokerRefused as error:
            findings.append(("note", subject, f"could not be looked at: {error}", _OPERATOR))
    return findings


_OPERATOR = "ask whoever runs the server, or allow this user the command"
Words = AsyncIterator[tuple[str, str, str]]


async def _eviction(link: Link) -> Words:
    policy = await _setting(link, "maxmemory-policy")
    if policy == "noeviction":
        yield "good", "noeviction: the server deletes nothing by itself", ""
    else:
        yield (
            "problem",
            f"maxmemory-policy is {policy}: short of memory, the server deletes tasks and results",
            "CONFIG SET maxmemory-policy noeviction, and the same in the server's configuration file",
        )


async def _persistence(link: Link) -> Words:
    if await _setting(link, "appendonly") == "yes":
        fsync = await _setting(link, "appendfsync")
        yield "good", f"appendonly yes, appendfsync {fsync}: tasks and results survive a restart", ""
    else:
        yield (
            "note",
            "appendonly is off: a restart of the server loses what is queued, and runs submit and compute it again",
            "CONFIG SET appendonly yes, and the same in the server's configuration file",
        )


async def _memory(link: Link) -> Words:
    info = await _info(link, "memory")
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", "0"))
    if not limit:
        yield "good", f"{used / MIB:,.0f} MiB used, no maxmemory", ""
    elif used > (1 - LEAST_FREE_SHARE) * limit:
        yield (
            "problem",
            f"{used / MIB:,.0f} of {limit / MIB:,.0f} MiB used: when it is full, runs pause",
            "raise maxmemory, or remove what is not needed (`ttg cleanup` removes what is TTG's)",
        )
    else:
        yield "good", f"{used / MIB:,.0f} of {limit / MIB:,.0f} MiB used", ""


async def _recovery(link: Link) -> Words:
    try:
        own = await link.command("CLIENT", "ID")
        await link.command("CLIENT", "LIST", "ID", own)
        yield "good", "CLIENT LIST is permitted: a dead worker is noticed within about a second", ""
    except BrokerRefused:
        yield (
            "note",
            "CLIENT LIST is forbidden: a dead worker is noticed only when its lease runs out",
            "allow this user `+client|id +client|list`, or lower TTG_LEASE_SECONDS",
        )


async def _clock(link: Link) -> Words:
    seconds, microseconds = await link.command("TIME")
    difference = int(seconds) + int(microseconds) / 1e6 - unix_time()
    if abs(difference) <= MOST_CLOCK_SECONDS:
        yield "good", f"differs from this machine's by {abs(difference):.1f} s", ""
    else:
        yield (
            "note",
            f"differs from this machine's by {abs(difference):,.0f} s: times shown are off, nothing else is",
            "run a time service (chrony, ntpd) on both machines",
        )


async def _keys(link: Link, keys: Keys) -> Words:
    foreign = []
    for key, kind in keys.types.items():
        found = (await link.command("TYPE", key)).decode()
        if found not in (kind, "none"):
            foreign.append(f"{key} is a {found}")
    if foreign:
        yield (
            "problem",
            f"keys of another program under TTG's names: {', '.join(foreign)}",
            "set TTG_NAMESPACE to another prefix",
        )
    else:
        yield "good", f"no foreign keys under TTG's names ({keys.namespace}.…)", ""


async def _setting(link: Link, name: str) -> str:
    reply = await link.command("CONFIG", "GET", name)
    if not reply:
        raise BrokerRefused(f"the server does not tell {name}")
    return str(reply[1].decode())


async def _info(link: Link, section: str) -> dict[str, str]:
    text = (await link.command("INFO", section)).decode()
    return dict(re.findall(r"^(\w+):(.*?)\r?$", text, re.MULTILINE))
