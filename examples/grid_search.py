"""Cross-validation of a classifier by scikit-learn, on TTG's workers instead of joblib's own.

    python examples/grid_search.py

With ``broker="redis://…"`` in the place of ``n_jobs=2`` the same search uses the workers that were started elsewhere.
"""

from __future__ import annotations

import joblib
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import ttg.joblib  # noqa: F401 - registers the backend


def main() -> None:
    """Prints the best parameters and their score."""
    samples, classes = make_classification(400, 10, random_state=1)
    search = GridSearchCV(SVC(), {"C": [0.1, 1, 10], "gamma": [0.01, 0.1]}, n_jobs=-1)
    with joblib.parallel_config("ttg", n_jobs=2):
        search.fit(samples, classes)
    print(f"{search.best_params_} {search.best_score_:.4f}")


if __name__ == "__main__":
    main()
