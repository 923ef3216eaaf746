"""The worker: a supervisor that holds leases, and child processes that run user code."""
