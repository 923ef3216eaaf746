"""What the code in the docs takes for granted: files beside it, names that it uses; and how its dots are filled in."""

from __future__ import annotations

FILES = {
    "sim.py": "def price(spot, vol, kind='call', n=12):\n    return {'value': spot * vol / n, 'cheap': spot < 90}\n",
    "any.py": "def f(spot, vol, kind, x):\n    return {'value': spot * vol * x, 'result': x}\n",
    "load.py": "import os\n\ndef size(path):\n    return os.path.getsize(path)\n",
    "fit.py": "def fit(x):\n    return x / 2\n",
    "table.csv": "spot,vol,note\n80,0.1,a\n90,0.2,b\n",
    "data/deep/a.csv": "1\n",
    "model": "#!/bin/sh\necho 42\n",
}

RUN = "--run-id RUN --out RUN --workers 1"
BEFORE = dict.fromkeys(
    ("docs/results.md", "docs/spaces.md"),
    f"ttg run any.py:f spot='linspace(80,120,50)' vol=0.1,0.2 kind=call,put x='range(6)' {RUN}",
)
"""Commands that a page's reader has executed."""

FILLED_IN = {
    ".venv/bin/ttg": "ttg",
    "price …": "price spot=80,90 vol=0.1",
    "| …": "| wc -c",
    "TTG_SECRET=…": "TTG_SECRET=of-the-docs",
    "linspace(0,1,100)": "linspace(0,1,4)",
    "ttg.linspace(0, 1, 100)": "ttg.linspace(0, 1, 4)",
    "Executor(4)": "Executor(2)",
    "n_jobs=8": "n_jobs=2",
    "ttg.workers(4)": "ttg.workers(2)",
    "--slots 8": "--slots 1",
}
"""Dots, and what would only take longer."""

NAMES = {
    "docs/executor.md": """
import joblib

class search:
    def fit(X, y):
        assert joblib.Parallel(n_jobs=-1)(joblib.delayed(abs)(x) for x in X) == y

X, y = [-1, -2], [1, 2]
""",
    "docs/python.md": """
import ttg

def price(spot):
    return spot / 2

def hedge(price):
    return -price

def square(x):
    return x * x

space = {"spot": range(10)}
""",
    "docs/results.md": """
import numpy as np, pandas, pyarrow.compute, ttg

def field(alpha):
    return np.full(3, alpha)

def summary(alpha):
    return alpha

def simulate(alpha, workdir):
    np.save(workdir / "field.npy", field(alpha))

run = ttg.run(simulate, {"alpha": range(8)}, workers=1)
""",
    "docs/spaces.md": """
import pandas as pd, ttg

def price(day, frame):
    return frame["close"][day]

pd.DataFrame({"close": [float(day) for day in range(250)]}).to_parquet("prices.parquet")
""",
    "docs/workers.md": """
import numpy as np, ttg

np.save("weights.npy", np.ones(3))
paths = ["weights.npy"]
""",
}
"""Python that a page's code relies on."""
