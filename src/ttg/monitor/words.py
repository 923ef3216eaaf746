"""Figures as people read them. Pure."""

from __future__ import annotations

from datetime import datetime

CAUSE_CHARACTERS = 80
NARROW_SHARE = 0.2
"""A time that is known so well is said without a range."""

ENDING_FROM_SECONDS = 60.0
"""What ends sooner needs no time of day."""

MESSAGE_CHARACTERS = 400
"""Where there is room for what is to be done, which is said last."""


def as_count(figure: int | None) -> str:
    """``1,234``, or a dash for what a broker cannot tell."""
    return "–" if figure is None else f"{figure:,}"


def as_rate(rate: float) -> str:
    """Three significant digits or all before the point: ``0.25``, ``31.2``, ``5,120``, ``1.23 M``."""
    if rate >= 1e6:
        return f"{rate / 1e6:,.2f} M"
    if rate >= 100:
        return f"{rate:,.0f}"
    return f"{rate:.1f}" if rate >= 10 or rate == 0 else f"{rate:.2f}"


def as_duration(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``; ``?`` while nothing is known."""
    if seconds is None:
        return "?"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def as_time_left(seconds: float, least: float | None = None, most: float | None = None) -> str:
    """``3 min 20 s``, or between which it most likely is: ``7 to 9 min``, ``1.2 to 1.6 h``."""
    if least is None or most is None or most - least <= max(1.0, NARROW_SHARE * seconds):
        return as_duration(seconds)
    unit, length = next((pair for pair in (("d", 86_400), ("h", 3_600), ("min", 60)) if most >= 2 * pair[1]), ("s", 1))
    low, high = (
        f"{value:.1f}" if value < 10 and length >= 3_600 else f"{value:.0f}"
        for value in (least / length, most / length)
    )
    return as_duration(seconds) if low == high else f"{low} to {high} {unit}"


def as_ending(now: float, seconds: float | None) -> str:
    """``ends about 08:40``, ``ends about Tue 08:40``, in local time; nothing if that is soon, or not known."""
    if seconds is None or seconds < ENDING_FROM_SECONDS:
        return ""
    end, today = datetime.fromtimestamp(now + seconds), datetime.fromtimestamp(now).date()
    days = (end.date() - today).days
    return f"ends about {end:{'%H:%M' if not days else '%a %H:%M' if days < 7 else '%Y-%m-%d'}}"


def as_moment(at: float, now: float) -> str:
    """``08:40``, ``Nov 26 08:40``, ``2025-11-26``: of today, of this year, of another, in local time."""
    moment, present = datetime.fromtimestamp(at), datetime.fromtimestamp(now)
    if moment.year != present.year:
        return f"{moment:%Y-%m-%d}"
    return f"{moment:{'%H:%M' if moment.date() == present.date() else '%b %d %H:%M'}}"


def as_bytes(count: float) -> str:
    """``9 kB``, ``61 MB``, ``1.2 GB``; nothing known is a dash."""
    if not count:
        return "–"
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB"


def as_broker(backend: str, version: str) -> str:
    """``redis 7.0.15``; a version that says its server's name itself (``valkey 9.1``) stands alone."""
    return version if version[:1].isalpha() else f"{backend} {version}".rstrip()


def first_line(text: str, characters: int = MESSAGE_CHARACTERS) -> str:
    """Of a message; what is cut off is marked."""
    first = text.strip().partition("\n")[0]
    return f"{first[: characters - 1]}…" if len(first) > characters else first


def as_cause(error: str, message: str, place: str, characters: int = CAUSE_CHARACTERS) -> str:
    """``ValueError at sim.py:12 (price): too cold``: the file without its folder, unless the message says it; the first
    line of the message, which comes last, because a narrow terminal cuts it off."""
    first = first_line(message, characters)
    where = "" if place in message else place[place.rfind("/") + 1 :]
    return f"{error}{where and ' at '}{where}{first and ': '}{first}"


def plural(count: int, noun: str) -> str:
    """``1 chunk``, ``3 chunks``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
