"""Measure the token budget and the conversations of a large dataset, against tokenising every factor in full.

    python benchmarks/budget.py [--cases 5000] [--length 1600] [--rounds 2]

Random walks, 2,048 tokens. Both sides find the factor, count every case, and divide the tokens among the parts of a
conversation. The other side tokenises all cases at every factor, then all cases once more for their parts; it is
measured on `--share` of the cases and multiplied, since it takes minutes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, Row, cpu_seconds, interleaved, load, number, parse, report
from transformers import PreTrainedTokenizerFast

from vlmtsc.data.series import CleanSeries
from vlmtsc.data.splits import SETS
from vlmtsc.representation import conversations
from vlmtsc.representation.conversations import token_breakdown
from vlmtsc.representation.tokens import TextsAtFactor, TextTokens, TokenCounter, count_all
from vlmtsc.settings import PlotSettings, ScenarioSettings

IMAGE_TOKENS = 49


def random_walks(cases: int, length: int) -> tuple[CleanSeries, dict[str, np.ndarray]]:
    """Return a dataset of two classes, and its split."""
    random = np.random.default_rng(0)
    values = random.normal(size=(cases, 1, length)).cumsum(axis=2)
    values = (values - values.mean(axis=2, keepdims=True)) / values.std(axis=2, keepdims=True)
    series = CleanSeries(
        values=values,
        label_index=np.arange(cases) % 2,
        classes=np.array(["1", "2"]),
        case_ids=np.array([f"walk-{case:05d}" for case in range(cases)]),
        n_train=cases // 2,
    )
    parts = np.split(random.permutation(cases), [int(0.6 * cases), int(0.8 * cases)])
    return series, dict(zip(SETS, parts, strict=True))


def exhaustive(
    texts_at: TextsAtFactor,
    count_tokens: TokenCounter,
    *,
    n_cases: int,
    n_timepoints: int,
    context_length: int,
) -> tuple[int, np.ndarray]:
    """Find the factor as `find_smallest_factor` does, by tokenising every case at every factor."""
    for factor in range(1, n_timepoints + 1):
        tokens = count_all(texts_at, count_tokens, factor, n_cases)
        if tokens.max() <= context_length:
            return factor, tokens
    raise ValueError(f"no factor up to {n_timepoints} fits {context_length} tokens")


def build(
    tokenizer: Any, cases: int, length: int, scenario: ScenarioSettings, *, plainly: bool
) -> dict[str, Any]:
    """Make the conversations of random walks; return what was found, for comparison."""
    series, split = random_walks(cases, length)
    counted = TextTokens(tokenizer)
    located = TextTokens(tokenizer) if plainly else counted
    search = conversations.find_smallest_factor
    try:
        if plainly:
            conversations.find_smallest_factor = exhaustive
        made = conversations.make_conversations(
            series,
            split,
            scenario,
            PlotSettings(),
            count_tokens=counted.count,
            image_tokens=IMAGE_TOKENS,
            system_prompt="",
            eos_token=tokenizer.eos_token,
        )
    finally:
        conversations.find_smallest_factor = search
    records = [record for part in SETS for record in made.records[part]]
    return {
        "records": records,
        "budget": made.budget,
        "spent": token_breakdown(records, made.representation, located.locate),
    }


def measure(tokenizer: Any, numbers: str, cases: int, length: int, share: float, rounds: int) -> Row:
    """Build the conversations of one number format by both sides in turns."""
    scale = "untold" if numbers == "scaled" else "told"
    scenario = ScenarioSettings(
        name="walks", modality="both", numbers=numbers, scale=scale, context_length=2048
    )
    few = max(10, int(share * cases))
    found: dict[str, dict[str, Any]] = {}

    def whole() -> None:
        found["whole"] = build(tokenizer, cases, length, scenario, plainly=False)

    def plainly() -> None:
        found["plainly"] = build(tokenizer, few, length, scenario, plainly=True)

    seconds = interleaved(
        {"ours": lambda: cpu_seconds(whole), "other": lambda: cpu_seconds(plainly) * cases / few}, rounds
    )
    # On the same cases, both find the same.
    if build(tokenizer, few, length, scenario, plainly=False) != found["plainly"]:
        raise SystemExit("the two sides disagree")
    return Row(
        claim=f"token budget and conversations, {cases:,} cases of {length:,}, {numbers}",
        unit="s",
        ours=seconds["ours"],
        other=seconds["other"],
        ratio=seconds["other"] / seconds["ours"],
        aim="",
        agreement="factor, tokens and texts equal",
        notes=f"factor {found['whole']['budget']['factor']}; other side from {few:,} cases; "
        f"{number(sum(found['whole']['spent'].values()) / 1e6)} million tokens",
        load=load(),
    )


def main() -> None:
    """Print the table."""
    options = parse(
        __doc__,
        {
            "model": (Path, ROOT / "results/models/embedded", "checkpoint folder with the tokenizer"),
            "cases": (int, 5000, "series"),
            "length": (int, 1600, "timepoints"),
            "share": (float, 0.1, "cases of the other side"),
            "rounds": (int, 2, "turns of each side"),
        },
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.model)
    formats = ("scaled", "decimals")
    report(
        [
            measure(tokenizer, f, options.cases, options.length, options.share, options.rounds)
            for f in formats
        ],
        options.output,
    )


if __name__ == "__main__":
    main()
