"""Kepler's equation for a million positions of a comet at a time: a vectorised function takes and returns columns.

    ttg run examples/vectorized_kepler.py:position eccentricity='linspace(0,0.97,1000)' \\
        mean_anomaly='linspace(0,6.283185,1000)' --workers 2 --out orbits

``M = E - e sin E`` has no closed solution for E. Newton's method, started at π, converges for every ellipse (Charles
and Tatum, "The convergence of Newton-Raphson iteration with Kepler's equation", 1998). The table gets the distance in
semi-major axes, the true anomaly, and what is left of the equation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import ttg

Floats = NDArray[np.float64]

ITERATIONS = 60


@dataclass
class Positions:
    """Columns: one row per eccentricity and mean anomaly."""

    distance: Floats
    true_anomaly: Floats
    residual: Floats


@ttg.vectorized
def position(eccentricity: Floats, mean_anomaly: Floats) -> Positions:
    """Where a body on an ellipse is. A batch with an orbit that is no ellipse fails; TTG finds the orbit."""
    if np.any((eccentricity < 0) | (eccentricity >= 1)):
        raise ValueError("expected eccentricities from 0 up to below 1: the orbit is not closed")
    anomaly = eccentric_anomaly(eccentricity, mean_anomaly)
    stretch = np.sqrt((1 + eccentricity) / (1 - eccentricity))
    return Positions(
        distance=1 - eccentricity * np.cos(anomaly),
        true_anomaly=2 * np.arctan2(stretch * np.sin(anomaly / 2), np.cos(anomaly / 2)),
        residual=anomaly - eccentricity * np.sin(anomaly) - mean_anomaly,
    )


def eccentric_anomaly(eccentricity: Floats, mean_anomaly: Floats) -> Floats:
    """E for mean anomalies from 0 to 2π. Each row takes as many steps as it would alone, so batches do not matter."""
    anomaly = np.full_like(mean_anomaly, np.pi)
    moving = np.ones(len(anomaly), dtype=bool)
    for _ in range(ITERATIONS):
        error = anomaly - eccentricity * np.sin(anomaly) - mean_anomaly
        step = np.where(moving, error / (1 - eccentricity * np.cos(anomaly)), 0.0)
        anomaly -= step
        moving &= np.abs(step) > 1e-12
        if not moving.any():
            break
    return anomaly
