"""The broker in this process: reference semantics, and what the fault simulation runs on."""

from ttg.brokers.memory.broker import MemoryBroker
from ttg.brokers.memory.server import Fate, MemoryServer

__all__ = ["Fate", "MemoryBroker", "MemoryServer"]
