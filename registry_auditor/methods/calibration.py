"""How often a score this large occurs on benign fine-tunes: the measured false-positive rate of a finding.

Source: Phipson & Smyth 2010, "Permutation P-values Should Never Be Zero", the (b + 1) / (m + 1) of equation 2; as
conformal p-value, Vovk, Gammerman & Shafer 2005, chapter 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources

FILE = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """Scores of benign models, by finding code; without any, nothing is calibrated."""

    models: int = 0
    population: str = ""
    """In words, which models were scored."""
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Also of the models on which the finding stayed silent. A code may leave out models on which it is no mistake."""

    def fpr(self, code: str, score: float | None) -> float | None:
        """The chance, 0..1, that a benign model scores this high; None without data for `code`, or without a score.

        The model itself counts as one more benign model with this score. If it is exchangeable with the population,
        a rate of p or less then comes with a chance of at most p: conservative, and never below 1 / (models + 1).
        For a model that was made in another way than those of the population, it is an indication and no guarantee.
        """
        known = self.scores.get(code)
        if not known or score is None:
            return None
        return (1 + sum(each >= score for each in known)) / (len(known) + 1)

    def without(self, code: str) -> Calibration:
        """The same, with `code` uncalibrated: for parameters under which its score means something else."""
        return replace(self, scores={each: known for each, known in self.scores.items() if each != code})


def load(package: str, *, version: int) -> Calibration:
    """The `calibration.json` that lies in `package`, if it was measured with this version of its analyzer, else none.

    Raises:
        ValueError: the file is no JSON of the expected form; it is part of the package, which is then damaged.
    """
    file = resources.files(package) / FILE
    if not file.is_file():
        return Calibration()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        scores = {str(code): tuple(map(float, known)) for code, known in content["scores"].items()}
        measured = Calibration(int(content["models"]), str(content["population"]), scores)
        return measured if content["version"] == version else Calibration()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{package}/{FILE} is broken ({error!r}): install {package} anew") from error
