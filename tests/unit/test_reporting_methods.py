"""The methods as text: numbers from settings and records, sentences that hold for every configuration, citations."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from provenance_parts import EVALUATE, PLOT, RECIPE, SCENARIO, provenance_of, run_of

from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.reporting.methods import (
    Reference,
    cite_dataset,
    cited_keys,
    counted,
    listed,
    read_references,
    write_methods,
)
from vlmtsc.reporting.provenance import duration
from vlmtsc.settings import AGREED_WEIGHT, BASELINES, HOSTED, UNTUNED, FinetuneSettings

ROOT = Path(__file__).parents[2]
KNOWN = read_references(ROOT / "config/references.bib")
NUMBERS = {"modality": "numbers", "numbers": "scaled", "plot": "none", "levels": 31, "context_length": 192}


def text_of(provenance: dict[str, Any]) -> str:
    text = write_methods(provenance, KNOWN)["methods.md"]
    # Whatever the configuration: no gap, doubled blank, unfilled value or stray space before punctuation.
    assert not re.search(r"[{}]|None|Undefined|[^|]  |\(\)| [.,;)]|\.\.|\[\]", text), text
    return text


def of_recipe(**changes: Any) -> dict[str, Any]:
    return provenance_of([run_of("plot", settings={**RECIPE, **changes})])


def test_numbers_are_those_of_settings_and_records() -> None:
    numbers = run_of(
        "numbers", shown={"scenario": {"name": "numbers", **NUMBERS}, "plot": None, "image_tokens": 0}
    )
    text = text_of(provenance_of([run_of("plot"), numbers]))
    for part in (
        "1 dataset with 1,234 cases.",
        "| Toy | 740 | 247 | 247 | 3 | 77 | 2 |",
        "60% training, 20% validation and 20% test cases (seeds 42 and 21)",
        "72 tokens on average, of which 49",
        "integers from -31 to 31",
        "take 192 tokens",
        "The factor is 3.",
        "rank 7, alpha 14, scaled by alpha over rank, dropout 0.1",
        "0.0003 for LoRA and 0.002 for the projector",
        "at most 11 epochs and on at most 12,345 tokens",
        "Of 50M parameters, adapters included, 2M are trained",
        "(seed 0)",
        "Abacus 9, 4 cores, no GPU, 24 GiB of memory",
        "The 2 fine-tunings took 20 minutes in total and 19.8k training tokens",
        f"revision `{'a' * 40}`",
        "95% Wilson score intervals [@wilson]",
        "in 15 bins",
        "between 0.05 and 20",
    ):
        assert part in text, part
    assert "[@newcombe]." in text  # of the difference between two scenarios
    assert "bootstrap" not in text  # of several seeds only
    assert "[@aeon]" not in text


NO = dict.fromkeys(EVALUATE, False)
UNTUNED_RUN = run_of(
    "plot__2_shot",
    shown={"scenario": {"name": "plot__2_shot", **SCENARIO, "tuned": False, "shots": 2}},
    settings=FinetuneSettings(**RECIPE).untuned().model_dump(),
    stopped_by=UNTUNED,
)
OTHER_MACHINE = {"processes": 2, "hardware": {"gpus": ["H100", "H100"], "memory_gib": 100}}


@pytest.mark.parametrize(
    ("provenance", "present", "absent"),
    [
        (
            provenance_of([run_of("plot")], options={"evaluate": NO}),
            ["The 1 fine-tuning took"],
            ["## Controls", "## Baselines", "temperature", "freely", "@holm", "@wilcoxon", "average of the"],
        ),
        (
            provenance_of([run_of("plot", seed=seed) for seed in (4, 5)]),
            ["the seeds 4 and 5", "standard deviation", "@wilson", "2,000 resamples of seeds and of cases"],
            ["once (seed"],
        ),
        (
            provenance_of([run_of(name, seed=seed) for name in ("a", "b") for seed in (4, 5)]),
            ["[@newcombe], widened to contain those of the bootstrap"],
            [],
        ),
        (
            provenance_of([run_of("plot", seed=seed) for seed in (4, 5)], baselines=["fcn"]),
            ["cases within each class; those of the baselines, which have one seed, are not widened"],
            [],
        ),
        (
            provenance_of(
                [run_of("plot")], split={"settings": {"protocol": "official", "validation_share": 0.3}}
            ),
            ["own split; a stratified 30% of its training set were held out for validation (seed 21)"],
            ["pooled"],
        ),
        (
            provenance_of(
                [run_of("plot")],
                facts={"values_interpolated": 17, "cases_dropped": ["a", "b"], "classes_dropped": ["c"]},
            ),
            [
                "In Toy, 17 missing values were interpolated",
                "2 cases were removed",
                "1 class label was removed",
            ],
            ["resampled"],
        ),
        (
            provenance_of(
                [run_of("a"), run_of("b"), run_of("c")], datasets=[f"D{number}" for number in range(6)]
            ),
            ["@wilcoxon", "6 datasets with 1,234 cases each"],
            [],
        ),
        (
            provenance_of(
                [run_of("a"), run_of("b"), run_of("c")], datasets=[f"D{number}" for number in range(5)]
            ),
            [],
            ["@wilcoxon"],
        ),
        (
            provenance_of(
                [run_of("plot"), run_of("plot", model="large", processes=2, total_parameters=7 * 10**9)]
            ),
            ["`tiny`", "`large`", "Of 7G parameters", "divided among 2 processes"],
            [],
        ),
        (
            provenance_of([run_of("plot", **OTHER_MACHINE)]),
            ["on 2 x H100, 100 GiB of memory"],
            ["no GPU"],
        ),
        (of_recipe(use_rslora=True), ["[@rslora]"], ["alpha over rank"]),
        (of_recipe(use_dora=True), ["[@dora]"], ["Muon"]),
        (of_recipe(muon_learning_rate=2e-3), ["Muon [@muon] takes the place", "rate 0.002,"], []),
        (of_recipe(quantization="nf4"), ["[@qlora]"], []),
        (of_recipe(ema_decay=0.99), ["decay 0.99"], []),
        (of_recipe(keep="last"), ["last step is kept"], ["latest validation"]),
        (
            of_recipe(early_stopping_patience=0, epochs=1, token_budget=0),
            ["at most 1 epoch."],
            ["stops after"],
        ),
        (
            of_recipe(
                **{"align_steps": 1500, "align_epochs": 70, "align_token_share": 0.5, "soft_answers": True},
                **{"mixed_share": 0.7, "projector_learning_rate": 0.0, "aligned_cases": 300},
            ),
            [
                "the one token that the language model sees [@llavamini], 4 times",
                *("1,500 steps of 32 cases and 70 epochs", "show 50% of their tokens"),
                "learns, instead of labels, the first stage's class probabilities",
                "with probability 0.7 projected images are averages of those of the 3 cases of a forward pass",
                "shortened by up to 50% and with noise of up to 30% of their length",
                f"have the weight {AGREED_WEIGHT:g} in the loss",
                "; where there are images, on at most 300 cases times the number of classes",
                "parameters, adapters included, 2M are trained, those of the projector in the first stage not",
                "9.88k training tokens, those of the first stage not counted",
                *("@mcnemar", "with its own first stage alone"),
            ],
            ["the whole projector", "for the projector", "outputs scaled"],
        ),
        (of_recipe(), ["cross-entropy of the tokens of the answer and of"], ["first stage", "the weight"]),
        (
            of_recipe(align_steps=1500, soft_answers=True, mixed_share=1, projector_learning_rate=0.0),
            ["image shown; projected images are averages", "own first stage alone"],
            ["with probability"],
        ),
        (
            of_recipe(align_steps=1500),
            ["The first trains the projector alone"],
            ["projected images are", "own first stage alone"],  # the projector is trained further
        ),
        (
            of_recipe(token_budget=100000, budget_classes=20),
            [
                "at most 100,000 tokens, image tokens included (with more than 20 classes, in proportion more)."
            ],
            [],
        ),
        (of_recipe(token_budget=0, budget_classes=20), ["at most 11 epochs."], ["in proportion more"]),
        (of_recipe(precision="fp32"), ["computed in float32."], ["CPUs without instructions"]),
        (
            of_recipe(precision="bf16"),
            ["in bfloat16 (on CPUs without instructions for it in float32), but"],
            [],
        ),
        (
            of_recipe(vision_tuning="last_blocks", vision_blocks=3, vision_learning_rate=4e-5),
            ["the last 3 blocks of the vision tower are trained, too (peak learning rate 4e-05)"],
            ["frozen"],
        ),
        (
            of_recipe(vision_tuning="lora"),
            ["LoRA matrices in the linear layers of the vision tower"],
            ["frozen"],
        ),
        (
            provenance_of([UNTUNED_RUN, run_of("plot", seed=1)]),
            ["up to 2 solved training cases", "rank 7", "(seed 1)", "The 1 fine-tuning took"],
            ["rank 1,", "recipes"],
        ),
        (
            provenance_of([UNTUNED_RUN]),
            ["The model is not fine-tuned.", "It is not fine-tuned."],
            ["[@lora]", "fine-tunings took", "is trained", "were trained"],
        ),
        (of_recipe(lora_targets="query_value"), ["query and value projections"], []),
        (
            provenance_of([run_of("plot"), run_of("plot", seed=1, settings={**RECIPE, "lora_r": 9})]),
            ["use 2 recipes; this is the first"],
            ["rank 9"],
        ),
        (
            provenance_of(
                [run_of("plot", shown={"plot": PLOT | {"axis_limits": "shared", "inches": 5.5, "dpi": 72}})]
            ),
            ["5.5 by 5.5 inches at 72 dots per inch", "the same axis limits for all series"],
            [],
        ),
    ],
)
def test_the_text_holds_for_unusual_configurations(
    provenance: dict[str, Any], present: list[str], absent: list[str]
) -> None:
    text = text_of(provenance)
    assert [part for part in present if part not in text] == []
    assert [part for part in absent if part in text] == []


def test_all_baselines_and_rows_of_the_tables_can_be_described() -> None:
    configuration = load_configuration_files([], ROOT)
    runs = []
    for name, row in configuration.scenario_table.items():
        plot = configuration.plot_table[row.plot].model_dump() if row.plot != "none" else None
        runs.append(run_of(name, shown={"scenario": row.model_dump(), "plot": plot}))
    text = text_of(provenance_of(runs, baselines=[*BASELINES, HOSTED]))
    described = dict(re.findall(r"^`(.*?)`: (.*)$", text, re.MULTILINE))
    assert described.keys() == configuration.scenario_table.keys()
    assert described["plot"] != described["plot_gaf"] != described["plot_recurrence"]
    assert "largest-triangle" in described["numbers_lttb"]
    assert "The answer for each class is a letter." in described["numbers_letters"]
    assert "only the answer is scored" in described["rationale_after_answer"]
    assert "the answer, of the rationale if there is one, and of the end token" in text
    faulty = described["as_published_BASELINE_2048"]
    assert "the plot does not reach the model" in faulty
    assert "no case is truncated" not in faulty
    assert "0%, 1%, 3%, 5%, 10% and 20% of the length" in text
    assert {"dtw", "minirocket", "multirocket", "hydra", "fcn", "sklearn", "aeon"} <= set(cited_keys(text))


def test_models_are_described_by_their_source() -> None:
    models = load_configuration_files([], ROOT).model_table
    assembled = text_of(
        provenance_of([run_of("plot")], model=models["embedded"].source.model_dump(exclude_none=True))
    )
    assert "first 6 layers of `SmolLM2-135M-Instruct.Q4_1.gguf` [@smollm2] (width 576)" in assembled
    assert "stride 16 and 32" in assembled
    hub = text_of(
        provenance_of([run_of("plot")], model=models["llava-1.5-7b"].source.model_dump(exclude_none=True))
    )
    revision = models["llava-1.5-7b"].source.hub.revision
    assert f"`llava-hf/llava-1.5-7b-hf` at revision `{revision}` (LLaVA 1.5 [@llava15]), with 32" in hub
    others = (
        {"folder": {"path": "/secret/place"}},
        models["qwen2.5-vl-3b"].source.model_dump(exclude_none=True),
    )
    for source in others:
        text = text_of(provenance_of([run_of("plot")], model=source))
        assert "/secret/place" not in text
        assert "LLaVA" not in text


def test_the_page_escapes_names_and_links_citations() -> None:
    contents = write_methods(provenance_of([run_of("<b>")], datasets=["Toy<i>"]), KNOWN)
    page = contents["methods.html"]
    assert "<code>&lt;b&gt;</code>" in page
    assert "Toy&lt;i&gt;" in page
    assert '[<a href="#vlmtsc">1</a>]' in page
    keys = cited_keys(contents["methods.md"])
    assert re.findall(r'<li id="(.*?)"', page) == keys
    assert re.findall(r"^@\w+\{([\w-]+),", contents["references.bib"], re.MULTILINE) == keys
    assert "tslearn" not in keys


def test_every_dataset_of_the_table_has_known_citations() -> None:
    known = dict(KNOWN)
    with (ROOT / "config/datasets.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            assert cite_dataset(row["name"], row["citation"], known), row["name"]
    assert known == KNOWN
    own = "Somebody 2020, A thing; doi:10.1109/JAS.2019.1911747"
    assert cite_dataset("My_Data", own, known) == ["dataset-MyData-1", "ucr"]
    assert "Somebody 2020" in known["dataset-MyData-1"].entry


def test_every_reference_is_complete() -> None:
    fields = {"article": "journal", "inproceedings": "booktitle", "mastersthesis": "school", "misc": "title"}
    for key, reference in KNOWN.items():
        kind = reference.entry[1:].partition("{")[0]
        assert {fields[kind], "title", "year", "author"} <= set(reference.fields), key


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("@article{a,\n  title = {x},\n}\n@misc{a,\n  title = {y},\n}\n", "a occurs twice"),
        ("@article{a,\n  title = x,\n}\n", "@article{a,"),
        ("nonsense\n", "nonsense"),
    ],
)
def test_a_faulty_bibliography_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "faulty.bib").write_text(content)
    with pytest.raises(InputError, match=rf"faulty\.bib.*{message}"):
        read_references(tmp_path / "faulty.bib")


def test_a_citation_without_an_entry_is_named() -> None:
    references: dict[str, Reference] = {key: entry for key, entry in KNOWN.items() if key != "lora"}
    with pytest.raises(InputError, match=r"without an entry in references\.bib: lora"):
        write_methods(provenance_of([run_of("plot")]), references)


def test_words_for_numbers() -> None:
    assert [counted(number, "case") for number in (0, 1, 1200)] == ["0 cases", "1 case", "1,200 cases"]
    assert [listed([]), listed("a"), listed("ab"), listed("abc")] == ["", "a", "a and b", "a, b and c"]
    written = ["0.5 minutes", "10 minutes", "100 minutes", "120 minutes", "2.5 hours"]
    assert [duration(seconds) for seconds in (30, 598, 5990, 7190, 9000)] == written
