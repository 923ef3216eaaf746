"""Stores: where payloads that are not small wait for the coordinator, beside the broker (a *claim check*).

The settled message then carries name, size and checksum of the object that holds the rows; whoever executes writes it
once, whoever collects reads it and removes it when the rows are on disk. A store is no truth: an object that cannot be
read belongs to parameters that are not settled, and they are submitted again.

=============================== ============================================================================
where                           what it is
=============================== ============================================================================
``/path``                       a folder that coordinator and workers share: :mod:`ttg.stores.folder`
``s3://bucket/prefix``, …       an object store, as PyArrow knows them: :mod:`ttg.stores.objects`
=============================== ============================================================================
"""

from ttg.stores.base import INLINE_BYTES as INLINE_BYTES
from ttg.stores.base import ObjectLost as ObjectLost
from ttg.stores.base import Store as Store
from ttg.stores.base import open_store as open_store
from ttg.stores.base import within as within
