"""A posterior by emcee, and a fit by SciPy: both take an executor for their pool of workers.

python examples/posterior.py
"""

from __future__ import annotations

import emcee
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

import ttg

TIMES = np.linspace(0.0, 10.0, 50)
SEEN = 2.5 * np.exp(-0.3 * TIMES) + 0.05 * np.sin(17 * TIMES)


def misfit(parameters: NDArray[np.float64]) -> float:
    """Half of chi squared, for an exponential decay of some amplitude and rate."""
    amplitude, rate = parameters
    return float(0.5 * np.sum(((SEEN - amplitude * np.exp(-rate * TIMES)) / 0.05) ** 2))


def log_probability(parameters: NDArray[np.float64]) -> float:
    """Of the parameters, given what was seen."""
    return -misfit(parameters) if np.all(parameters > 0) else -np.inf


def main() -> None:
    """Prints the best fit, and mean and spread of the posterior."""
    with ttg.Executor(2) as executor:
        bounds = [(0.1, 10.0), (0.01, 2.0)]
        fit = differential_evolution(
            misfit, bounds, workers=executor.map, updating="deferred", rng=1, maxiter=30, popsize=8
        )
        print(f"best fit  {fit.x.round(3)}")
        start = fit.x + 1e-3 * np.random.default_rng(1).standard_normal((12, 2))
        sampler = emcee.EnsembleSampler(12, 2, log_probability, pool=executor)
        sampler.run_mcmc(start, 60)
        chain = sampler.get_chain(discard=20, flat=True)
    print(f"posterior {chain.mean(axis=0).round(2)} ± {chain.std(axis=0).round(2)}")


if __name__ == "__main__":
    main()
