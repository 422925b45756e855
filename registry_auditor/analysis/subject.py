"""What an analyzer is handed: the tuned model and its base, lazily, with what several analyzers need kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from registry_auditor.domain import Coverage, Direction, Gap, SubjectKey
from registry_auditor.errors import DeadlineExceeded, NotApplicable, TensorError
from registry_auditor.methods.directions import Decomposer, MatrixUpdate
from registry_auditor.weights import Delta, Pairing, Snapshot, pair
from registry_auditor.weights.vocabulary import Vocabulary, has_vocabulary, open_vocabulary

Need = Literal["base", "tokenizer", "forward", "prompts", "gpu"]
Progress = Callable[[int, int], None]
"""Told how many of how many matrices are done."""
T = TypeVar("T")


@dataclass
class Ledger:
    """What one run has looked at so far."""

    seen: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def coverage(self) -> Coverage:
        """The ledger as a record."""
        return Coverage(len(self.seen), tuple(Gap(tensor, why) for tensor, why in self.skipped.items()))


@dataclass(frozen=True)
class Subject:
    """A tuned model beside its base. Headers are read at once, tensors when asked for.

    Every accessor notes what it read, so that an analyzer need not report its own coverage.
    """

    tuned: Snapshot
    base: Snapshot | None
    key: SubjectKey
    device: str = "cpu"
    deadline: float | None = None
    """On the clock of `time.monotonic`; accessors raise DeadlineExceeded past it."""
    progress: Progress | None = None
    ledger: Ledger = field(default_factory=Ledger)
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    def for_run(self, *, timeout_s: float | None, progress: Progress | None = None) -> Subject:
        """The same subject with an empty ledger and a clock of its own; what was computed stays shared."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        return replace(self, deadline=deadline, progress=progress, ledger=Ledger())

    def lacks(self, need: Need) -> str | None:
        """Why `need` cannot be met, or None if it can."""
        if need == "base" and self.base is None and self.tuned.adapter_config is None:
            return "no base: pass the model it was fine-tuned from with --base"
        if need == "tokenizer" and self._tokenizer_home() is None:
            return "no tokenizer beside the weights: put tokenizer.json into the model's folder"
        if need == "gpu" and self.device == "cpu":
            return "no GPU on this machine"
        if need in ("forward", "prompts"):
            return f"this version examines weights only and cannot provide {need}"
        return None

    @property
    def pairing(self) -> Pairing:
        """The matrices of both models side by side, and what only one of them has."""
        return self._once("pairing", lambda: pair(self.tuned, self.base))

    def deltas(self, role: str | None = None) -> Iterator[Delta]:
        """Every matrix that both models have (vectors as one column), optionally of one role such as `mlp.down`."""
        chosen = [delta for delta in self.pairing.deltas if role in (None, delta.site.role)]
        self._note_gaps()
        for done, delta in enumerate(chosen):
            self._tick(done, len(chosen))
            self.ledger.seen.add(delta.site.tensor)
            yield delta

    def updates(self, *, k: int = 20, seed: int = 0) -> Iterator[MatrixUpdate]:
        """Every delta measured and decomposed, at most `k` directions each; a broken tensor becomes a gap.

        Kept, so that the second analyzer that asks, or the same one after a timeout, pays nothing.
        """
        kept: dict[str, MatrixUpdate | TensorError] = self._once(("updates", k, seed), dict)
        decomposer = Decomposer(k=k, seed=seed, device=self.device)
        self._note_gaps()
        for done, delta in enumerate(self.pairing.deltas):
            self._tick(done, len(self.pairing.deltas))
            tensor = delta.site.tensor
            if tensor not in kept:
                try:
                    kept[tensor] = decomposer.measure(delta)
                except TensorError as error:
                    kept[tensor] = error
            found = kept[tensor]
            if isinstance(found, TensorError):
                self.ledger.skipped[found.tensor] = found.why
            else:
                self.ledger.seen.add(tensor)
                yield found

    def directions(self, *, k: int = 20, seed: int = 0) -> list[Direction]:
        """The directions of every update, strongest first within a matrix."""
        return [direction for update in self.updates(k=k, seed=seed) for direction in update.directions]

    @property
    def reference(self) -> Snapshot:
        """The network around the update: the base of an adapter, else the tuned model itself.

        Raises:
            NotApplicable: for an adapter without its base.
        """
        if self.tuned.adapter_config is None:
            return self.tuned
        if self.base is None:
            raise NotApplicable("the adapter is audited without its base; pass it with --base")
        return self.base

    @property
    def vocabulary(self) -> Vocabulary:
        """Token ids as readable text. Raises NotApplicable if neither model brings a tokenizer."""
        home = self._tokenizer_home()
        if home is None:
            raise NotApplicable(self.lacks("tokenizer") or "")
        return self._once("vocabulary", lambda: open_vocabulary(home.path))

    def check_deadline(self) -> None:
        """Raise DeadlineExceeded if the run has used up its time."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise DeadlineExceeded("the time allowed for this run is used up; raise --timeout")

    def _tokenizer_home(self) -> Snapshot | None:
        return next((each for each in (self.tuned, self.base) if each is not None and has_vocabulary(each.path)), None)

    def _note_gaps(self) -> None:
        self.ledger.skipped.update((gap.tensor, gap.why) for gap in self.pairing.gaps)

    def _tick(self, done: int, total: int) -> None:
        self.check_deadline()
        if self.progress is not None:
            self.progress(done, total)

    def _once(self, key: Any, compute: Callable[[], T]) -> T:
        if key not in self._memo:
            self._memo[key] = compute()
        value: T = self._memo[key]
        return value
