"""What ``ttg doctor`` says about a Redis or Valkey server. Reads settings, changes none."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress

from ttg.brokers.redis.batches import MOST_ARGUMENTS
from ttg.brokers.redis.keys import Keys
from ttg.brokers.redis.pool import Forbidden, Pool, acl_advice
from ttg.clock import unix_time
from ttg.errors import BrokerError, BrokerRefused

Finding = tuple[str, str, str, str]

LEAST_FREE_SHARE = 0.2
MOST_CLOCK_SECONDS = 5.0
MIB = 1 << 20
LOOKS = 6
ROOM_FOR_KEYS = 20


async def diagnose(pool: Pool, keys: Keys) -> list[Finding]:
    """Each check gives findings ``(level, subject, text, advice)``; one that may not look gives a note."""
    checks = {
        "permissions": _permissions(pool),
        "cluster": _cluster(pool, keys),
        "servers": _servers(pool),
        "arguments": _arguments(pool),
        "eviction": _eviction(pool),
        "persistence": _persistence(pool),
        "memory": _memory(pool),
        "recovery": _recovery(pool),
        "clock": _clock(pool),
        "keys": _keys(pool, keys),
    }
    findings: list[Finding] = []
    for subject, check in checks.items():
        try:
            findings += [(level, subject, text, advice) async for level, text, advice in check]
        except BrokerRefused as error:
            findings.append(("note", subject, f"could not be looked at: {error.__cause__ or error}", _OPERATOR))
    return findings


async def _permissions(pool: Pool) -> Words:
    if missing := await pool.forbidden():
        yield "problem", f"this user may not do what TTG needs: {', '.join(missing)}", acl_advice(missing)
    else:
        yield "good", "this user may do what TTG needs", ""


async def _cluster(pool: Pool, keys: Keys) -> Words:
    if (await _info(pool, "cluster")).get("cluster_enabled") != "1":
        return
    if keys.are_together:
        yield "good", f"the keys of {keys.namespace} are together on one node of this Redis Cluster", ""
    else:
        yield (
            "problem",
            f"this is a Redis Cluster, which spreads the keys of namespace {keys.namespace} over its nodes",
            f"TTG_NAMESPACE='{{{keys.namespace}}}' keeps them together",
        )


async def _servers(pool: Pool) -> Words:
    """One address may lead to several, through a proxy or a load balancer. In a cluster it does, and we are sent on."""
    if (await _info(pool, "cluster")).get("cluster_enabled") == "1":
        return
    found = await pool.servers(LOOKS)
    if len(found) == 1:
        yield "good", f"{LOOKS} connections led to one server", ""
    else:
        yield (
            "problem",
            f"{LOOKS} connections led to {len(found)} servers that know nothing of each other: "
            "tasks and results would be spread over them",
            "name the address of one server, or of the primary",
        )


async def _arguments(pool: Pool) -> Words:
    words = [""] * (MOST_ARGUMENTS + ROOM_FOR_KEYS)
    try:
        await pool.command("EVAL", "return #ARGV", 0, *words)
        yield "good", f"commands with {len(words):,} arguments are taken", ""
    except Forbidden:
        raise
    except BrokerError as error:
        yield (
            "problem",
            f"a command with {len(words):,} arguments is refused, and TTG sends such: {error.__cause__ or error}",
            "ask whoever runs the service, or the proxy before it, for a higher limit, or use another one",
        )


_OPERATOR = "ask whoever runs the server, or allow this user the command"
Words = AsyncIterator[tuple[str, str, str]]


async def _eviction(pool: Pool) -> Words:
    policy = await _setting(pool, "maxmemory-policy", "memory", "maxmemory_policy")
    if policy == "noeviction":
        yield "good", "noeviction: the server deletes nothing by itself", ""
    elif policy.startswith("volatile-"):
        yield "good", f"{policy}: the server deletes only what is to expire, and no task or result is", ""
    else:
        yield (
            "problem",
            f"maxmemory-policy is {policy}: short of memory, the server deletes tasks and results",
            "CONFIG SET maxmemory-policy noeviction, and the same in the configuration of server or service",
        )


async def _persistence(pool: Pool) -> Words:
    if await _setting(pool, "appendonly", "persistence", "aof_enabled") in ("yes", "1"):
        yield "good", "appendonly yes: tasks and results survive a restart", ""
    else:
        yield (
            "note",
            "appendonly is off: a restart of the server loses what is queued, and runs submit and compute it again",
            "CONFIG SET appendonly yes, and the same in the server's configuration file",
        )


async def _memory(pool: Pool) -> Words:
    info = await _info(pool, "memory")
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


async def _recovery(pool: Pool) -> Words:
    try:
        own = await pool.command("CLIENT", "ID")
        await pool.command("CLIENT", "LIST", "ID", own)
        yield "good", "CLIENT LIST is permitted: a dead worker is noticed within about a second", ""
    except BrokerRefused:
        yield (
            "note",
            "CLIENT LIST is forbidden: a dead worker is noticed only when its lease runs out",
            "allow this user `+client|id +client|list`, or lower TTG_LEASE_SECONDS",
        )


async def _clock(pool: Pool) -> Words:
    seconds, microseconds = await pool.command("TIME")
    difference = int(seconds) + int(microseconds) / 1e6 - unix_time()
    if abs(difference) <= MOST_CLOCK_SECONDS:
        yield "good", f"differs from this machine's by {abs(difference):.1f} s", ""
    else:
        yield (
            "note",
            f"differs from this machine's by {abs(difference):,.0f} s: times shown are off, nothing else is",
            "run a time service (chrony, ntpd) on both machines",
        )


async def _keys(pool: Pool, keys: Keys) -> Words:
    foreign = []
    for key, kind in keys.types.items():
        found = (await pool.command("TYPE", key)).decode()
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


async def _setting(pool: Pool, name: str, section: str, field: str) -> str:
    """From ``INFO``, which managed services allow; where that does not tell it, from ``CONFIG``."""
    with suppress(BrokerRefused):
        if told := (await _info(pool, section)).get(field):
            return told
    reply = await pool.command("CONFIG", "GET", name)
    if not reply:
        raise BrokerRefused(f"the server does not tell {name}")
    return str(reply[1].decode())


async def _info(pool: Pool, section: str) -> dict[str, str]:
    text = (await pool.command("INFO", section)).decode()
    return dict(re.findall(r"^(\w+):(.*?)\r?$", text, re.MULTILINE))
