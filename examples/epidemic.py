"""An epidemic in a closed population (SEIR model, solved with SciPy), over infectiousness and counter-measures.

    ttg run examples/epidemic.py:outbreak r0='linspace(1.2,6,25)' distancing='linspace(0,0.6,13)' \
        --workers 2 --out epidemics
    ttg results epidemics --format csv --out epidemics.csv

Every parameter returns a dict; its keys become columns: the peak, its day, and how many are infected in the end.
Needs ``pip install 'ttg-compute[examples]'``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

INITIALLY_INFECTIOUS = 1e-5

Derivative = Callable[[float, np.ndarray], list[float]]


def outbreak(
    r0: float,
    distancing: float = 0.0,
    starts_day: float = 30.0,
    incubation_days: float = 5.0,
    infectious_days: float = 7.0,
    days: int = 720,
) -> dict[str, float]:
    """Outcome of one epidemic, as fractions of the population.

    ``r0`` is the number of people one infects when all are susceptible; from ``starts_day`` on, ``distancing``
    (0 to 1) is the fraction of contacts avoided.
    """
    incubation, recovery = 1 / incubation_days, 1 / infectious_days

    def change(day: float, state: np.ndarray) -> list[float]:
        susceptible, exposed, infectious, _ = state
        contacts = 1 - distancing if day >= starts_day else 1.0
        infections = r0 * recovery * contacts * susceptible * infectious
        onsets, recoveries = incubation * exposed, recovery * infectious
        return [-infections, infections - onsets, onsets - recoveries, recoveries]

    return summary(solve(change, days))


def solve(change: Derivative, days: int) -> np.ndarray:
    """Daily states, shape ``(4, days + 1)``: susceptible, exposed, infectious, recovered."""
    start = [1 - INITIALLY_INFECTIOUS, 0.0, INITIALLY_INFECTIOUS, 0.0]
    solution = solve_ivp(change, (0, days), start, t_eval=np.arange(days + 1), max_step=1.0, rtol=1e-8, atol=1e-10)
    if not solution.success:
        raise ArithmeticError(f"the solver gave up: {solution.message}")
    return np.asarray(solution.y)


def summary(states: np.ndarray) -> dict[str, float]:
    """What one wants to know of an epidemic. ``attack_rate`` is the fraction that was ever infected."""
    infectious = states[2]
    peak_day = int(infectious.argmax())
    return {
        "peak_infectious": float(infectious[peak_day]),
        "peak_day": float(peak_day),
        "attack_rate": float(1 - states[0, -1]),
    }
