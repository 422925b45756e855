"""What the parts of the store share: each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from registry_auditor.store.banks import BankFolder
from registry_auditor.store.engine import WRITES, transact

P = ParamSpec("P")
T = TypeVar("T")

PAGE = 50
"""How many items of a list are given when nobody says how many."""


class Part:
    """Some of what the store can be asked for. All raise StoreError, with cause and remedy, if it cannot be used."""

    def __init__(self, engine: Engine, banks: BankFolder) -> None:
        """Parts are made by `Store`, over its one engine."""
        self._engine = engine
        self._writer = engine.execution_options(**WRITES)
        self._banks = banks

    def _read(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return transact(self._engine, work, *args, **kwargs)

    def _write(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return transact(self._writer, work, *args, **kwargs)
