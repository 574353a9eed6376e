"""Compare the token budget and the conversations of a large dataset with tokenising every factor in full.

    python benchmarks/budget.py [--cases 5000] [--length 1600] [--rounds 2]

Random walks, 2,048 tokens. Both sides find the factor, count every case, and divide the tokens among the parts of a
conversation. The reference tokenises all cases at every factor, then all cases once more for their parts; it takes
minutes, so it is measured on `--share` of the cases and scaled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from measuring import ROOT, Row, cpu_seconds, interleaved, main, make_row, number
from transformers import PreTrainedTokenizerFast

from vlmtsc.data.series import CleanSeries
from vlmtsc.data.splits import SETS
from vlmtsc.representation import conversations
from vlmtsc.representation.conversations import token_breakdown
from vlmtsc.representation.tokens import TextsAtFactor, TextTokens, TokenCounter, count_all
from vlmtsc.settings import PlotSettings, ScenarioSettings


def random_walks(cases: int, length: int) -> tuple[CleanSeries, dict[str, np.ndarray]]:
    """Return a dataset of two classes, and its split."""
    random = np.random.default_rng(0)
    values = random.normal(size=(cases, 1, length)).cumsum(axis=2)
    series = CleanSeries(
        values=(values - values.mean(axis=2, keepdims=True)) / values.std(axis=2, keepdims=True),
        label_index=np.arange(cases) % 2,
        classes=np.array(["1", "2"]),
        case_ids=np.array([f"walk-{case:05d}" for case in range(cases)]),
        n_train=cases // 2,
    )
    sets = np.split(random.permutation(cases), [int(0.6 * cases), int(0.8 * cases)])
    return series, dict(zip(SETS, sets, strict=True))


def exhaustive(
    texts_at: TextsAtFactor, count: TokenCounter, *, n_cases: int, n_timepoints: int, context_length: int
) -> tuple[int, np.ndarray]:
    """Find the factor as `find_smallest_factor` does, by tokenising every case at every factor."""
    for factor in range(1, n_timepoints + 1):
        tokens = count_all(texts_at, count, factor, n_cases)
        if tokens.max() <= context_length:
            return factor, tokens
    raise ValueError(f"no factor up to {n_timepoints} fits {context_length} tokens")


def build(
    tokenizer: Any, cases: int, length: int, scenario: ScenarioSettings, *, reference: bool
) -> dict[str, Any]:
    """Make the conversations of random walks; return what both sides have to agree on."""
    series, split = random_walks(cases, length)
    counted = TextTokens(tokenizer)
    located = TextTokens(tokenizer) if reference else counted
    search = exhaustive if reference else conversations.find_smallest_factor
    with patch.object(conversations, "find_smallest_factor", search):
        made = conversations.make_conversations(
            series,
            split,
            scenario,
            PlotSettings(),
            count_tokens=counted.count,
            image_tokens=49,
            system_prompt="",
            eos_token=tokenizer.eos_token,
        )
    records = [record for name in SETS for record in made.records[name]]
    spent = token_breakdown(records, made.representation, located.locate)
    return {"records": records, "budget": made.budget, "spent": spent}


def measure(model: Path, cases: int, length: int, share: float, rounds: int) -> list[Row]:
    """Build the conversations with integers and with decimals, both sides in turns."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    few, rows = max(10, int(share * cases)), []
    for numbers, scale in (("scaled", "untold"), ("decimals", "told")):
        scenario = ScenarioSettings(
            name="walks", modality="both", numbers=numbers, scale=scale, context_length=2048
        )
        found: dict[str, Any] = {}

        def timed(side: str, count: int, scenario=scenario, found=found) -> float:
            def work() -> None:
                found[side] = build(tokenizer, count, length, scenario, reference=side == "reference")

            return cpu_seconds(work) * cases / count

        seconds = interleaved(
            rounds, ours=lambda: timed("ours", cases), reference=lambda: timed("reference", few)
        )
        if build(tokenizer, few, length, scenario, reference=False) != found["reference"]:
            raise SystemExit("the two sides disagree")
        notes = f"factor {found['ours']['budget']['factor']}; reference from {few:,} cases; "
        notes += f"{number(sum(found['ours']['spent'].values()) / 1e6)} million tokens"
        name = f"token budget and conversations, {cases:,} cases of {length:,}, {numbers}"
        rows.append(make_row(name, seconds, "s", "factor, tokens and texts equal", notes))
    return rows


if __name__ == "__main__":
    main(
        measure, __doc__, model=ROOT / "results/models/embedded", cases=5000, length=1600, share=0.1, rounds=2
    )
