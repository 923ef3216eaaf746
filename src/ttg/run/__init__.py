"""The coordinator: it plans, submits, collects and reports one run."""
