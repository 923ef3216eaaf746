"""The names of everything TTG keeps on a Redis or Valkey server.

A Redis Cluster spreads keys over its nodes by the part in braces, if there is one (the hash tag); our scripts need all
of ours on one node. So where the server says that it is one of a cluster, namespace ``ttg`` is ``{ttg}``.
"""

from __future__ import annotations

from collections.abc import Sequence

GROUP = "ttg-workers"

Words = Sequence[str | bytes | int]


class Key(str):
    """The name of one of our keys, as it was when somebody asked for it."""

    __slots__ = ()


class Keys:
    """The keys of one namespace; the types are in :attr:`types`. One object for all connections of a client."""

    def __init__(self, namespace: str) -> None:
        self.namespace = self._given = namespace

    @property
    def are_together(self) -> bool:
        """Whether they have a hash tag, and so one place in a cluster."""
        return "{" in self.namespace

    def keep_together(self) -> None:
        """The server is one of a cluster: from now on all keys have a hash tag."""
        if not self.are_together:
            self.namespace = f"{{{self.namespace}}}"

    def current(self, words: Words) -> Words:
        """``words``, which may have been put together before :meth:`keep_together`, with the keys as they are now."""
        if self.namespace == self._given:
            return words
        return [self._renamed(word) if isinstance(word, Key) else word for word in words]

    def _renamed(self, key: Key) -> Key:
        return key if key.startswith(self.namespace) else Key(self.namespace + key.removeprefix(self._given))

    @property
    def tasks(self) -> Key:
        return Key(f"{self.namespace}.tasks")

    @property
    def retry(self) -> Key:
        return Key(f"{self.namespace}.tasks.retry")

    @property
    def letters(self) -> Key:
        return Key(f"{self.namespace}.tasks.dlq")

    @property
    def results(self) -> Key:
        return Key(f"{self.namespace}.results")

    @property
    def events(self) -> Key:
        return Key(f"{self.namespace}.events")

    @property
    def runs(self) -> Key:
        return Key(f"{self.namespace}.runs")

    @property
    def specs(self) -> Key:
        return Key(f"{self.namespace}.runs.specs")

    @property
    def workers(self) -> Key:
        return Key(f"{self.namespace}.workers")

    @property
    def workers_seen(self) -> Key:
        return Key(f"{self.namespace}.workers.seen")

    @property
    def maintenance(self) -> Key:
        return Key(f"{self.namespace}.maintenance")

    @property
    def types(self) -> dict[Key, str]:
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
