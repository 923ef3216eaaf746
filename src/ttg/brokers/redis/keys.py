"""The names of everything TTG keeps on a Redis or Valkey server. For a cluster, use a namespace like ``{ttg}``."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "ttg-workers"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace; the types are in :attr:`types`."""

    namespace: str

    @property
    def tasks(self) -> str:
        return f"{self.namespace}.tasks"

    @property
    def retry(self) -> str:
        return f"{self.namespace}.tasks.retry"

    @property
    def letters(self) -> str:
        return f"{self.namespace}.tasks.dlq"

    @property
    def results(self) -> str:
        return f"{self.namespace}.results"

    @property
    def events(self) -> str:
        return f"{self.namespace}.events"

    @property
    def runs(self) -> str:
        return f"{self.namespace}.runs"

    @property
    def specs(self) -> str:
        return f"{self.namespace}.runs.specs"

    @property
    def workers(self) -> str:
        return f"{self.namespace}.workers"

    @property
    def workers_seen(self) -> str:
        return f"{self.namespace}.workers.seen"

    @property
    def maintenance(self) -> str:
        return f"{self.namespace}.maintenance"

    @property
    def types(self) -> dict[str, str]:
        """Every key there can be, and its type: what a purge of the namespace may remove, and nothing else."""
        return {
            self.tasks: "stream",
            self.retry: "zset",
            self.letters: "stream",
            self.results: "stream",
            self.events: "stream",
            self.runs: "hash",
            self.specs: "hash",
            self.workers: "hash",
            self.workers_seen: "zset",
            self.maintenance: "string",
        }
