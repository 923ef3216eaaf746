"""Price European and Asian call options by Monte Carlo, over a grid of markets.

    ttg run examples/option_pricing.py:price spot='linspace(80,120,41)' volatility=0.1,0.2,0.3 style=european,asian \
        --seed 7 --workers 2 --out prices
    ttg results prices

Each parameter gets its own random generator (``rng``), derived from the run's seed and its index, so the table is the
same with any number of workers. A price is good to about twice its ``standard_error``; the European one can be held
against :func:`black_scholes`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Price(NamedTuple):
    """An option's value today and the standard error of the estimate, both in the currency of ``spot``."""

    price: float
    standard_error: float


def price(
    spot: float,
    volatility: float,
    rng: np.random.Generator,
    style: str = "european",
    strike: float = 100.0,
    rate: float = 0.03,
    years: float = 1.0,
    pairs: int = 10_000,
) -> Price:
    """Value of a call that pays on the last level (``european``) or on the mean of the months (``asian``).

    ``volatility`` and ``rate`` are per year. Paths come in antithetic pairs, one with the other's shocks mirrored: a
    pair's mean varies less than two independent paths would, and the pairs are independent of each other.
    """
    steps = {"european": 1, "asian": 12}[style]
    shocks = rng.standard_normal((steps, pairs))
    payoffs = [
        np.maximum(levels(spot, volatility, rate, years / steps, side).mean(axis=0) - strike, 0.0)
        for side in (shocks, -shocks)
    ]
    values = np.mean(payoffs, axis=0) * math.exp(-rate * years)
    return Price(float(values.mean()), float(values.std(ddof=1) / math.sqrt(pairs)))


def levels(spot: float, volatility: float, rate: float, step_years: float, shocks: np.ndarray) -> np.ndarray:
    """Levels after each step of geometric Brownian motion, risk-neutral; same shape as ``shocks``, time first."""
    growth = (rate - volatility**2 / 2) * step_years + volatility * math.sqrt(step_years) * shocks
    return spot * np.exp(np.cumsum(growth, axis=0))


def black_scholes(
    spot: float, volatility: float, strike: float = 100.0, rate: float = 0.03, years: float = 1.0
) -> float:
    """The exact price of the European call (Black and Scholes, 1973)."""
    spread = volatility * math.sqrt(years)
    d1 = (math.log(spot / strike) + (rate + volatility**2 / 2) * years) / spread
    return spot * normal_cdf(d1) - strike * math.exp(-rate * years) * normal_cdf(d1 - spread)


def normal_cdf(x: float) -> float:
    """Probability that a standard normal variable is below ``x``."""
    return (1 + math.erf(x / math.sqrt(2))) / 2
