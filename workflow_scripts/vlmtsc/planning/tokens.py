"""How many tokens a run's cases have: as built, as built earlier, or at most."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmtsc.files import read_json
from vlmtsc.planning.cost_model import spread_out
from vlmtsc.planning.history import passes_of

#: Tokens of a question at most, where none like it was ever built: image, words and statistics, and each value told.
WORDS, EACH_VALUE = 700, 8
#: Other datasets whose conversations tell the tokens of a scenario, at most.
DATASETS_LOOKED_AT = 20


@dataclass(frozen=True)
class Told:
    """What is known of a scenario's conversations on a dataset.

    Attributes
    ----------
    cases, tokens : dict
        Of one pass over train, validation and test.
    source : {"built", "earlier conversations", "other datasets", "a bound"}
        Where the tokens come from.
    """

    cases: dict[str, int]
    tokens: dict[str, float]
    source: str


class TokenSource:
    """Looks up tokens of conversations.

    Parameters
    ----------
    results : Path
        The results folder that is planned for.
    history : sequence of Path
        Other results folders.
    """

    def __init__(self, results: Path, history: Sequence[Path]) -> None:
        self.results = results
        self.history = list(history)
        self._means: dict[tuple[str, str, int], float | None] = {}

    def tell(
        self, place: str, context: int, sizes: Mapping[str, int] | None, values: int | None = None
    ) -> Told | None:
        """Return cases and tokens of ``{model}/{dataset}/{protocol}/{scenario}``.

        Parameters
        ----------
        place : str
        context : int
            Context length of the scenario: other conversations are not those that will be built.
        sizes : mapping of str to int, or None
            Cases of each part, as far as the table of datasets tells.
        values : int, optional
            Timepoints of a case, of all channels, as far as that table tells.

        Returns
        -------
        Told or None
            None for a dataset of unknown size.
        """
        for folder in [self.results, *self.history]:
            path = folder / "conversations" / place / "budget.json"
            if path.exists():
                budget = read_json(path)
                if budget.get("context_length", context) == context:
                    return Told(
                        *passes_of(budget), "built" if folder is self.results else "earlier conversations"
                    )
        if sizes is None:
            return None
        model, _, _, scenario = place.split("/")
        mean = self._mean_elsewhere(model, scenario, context)
        source = "a bound" if mean is None else "other datasets"
        each = mean or float(min(context, WORDS + EACH_VALUE * values) if values else context)
        return Told(dict(sizes), {part: each * count for part, count in sizes.items()}, source)

    def _mean_elsewhere(self, model: str, scenario: str, context: int) -> float | None:
        """Return the median over other datasets of the mean tokens of a case."""
        key = model, scenario, context
        if key not in self._means:
            found = []
            for folder in [self.results, *self.history]:
                paths = sorted(folder.glob(f"conversations/{model}/*/*/{scenario}/budget.json"))
                for path in spread_out(paths, DATASETS_LOOKED_AT):
                    budget = read_json(path)
                    if budget.get("context_length", context) == context:
                        found.append(float(budget["tokens"]["train"]["mean"]))
            self._means[key] = statistics.median(found) if found else None
        return self._means[key]
