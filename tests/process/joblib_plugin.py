"""A pytest plugin: joblib's own tests find the backend ``"ttg"`` among theirs."""

from __future__ import annotations

import ttg.joblib  # noqa: F401 - registers the backend
