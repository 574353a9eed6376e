"""The methods as text: every number from settings or records, every citation with an entry, three forms."""

from __future__ import annotations

import csv
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from provenance_parts import EVALUATE, PART, PLOT, RECIPE, merged, run_of

from vlmtsc.baselines.settings import BASELINES
from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError
from vlmtsc.reporting.manuscript import caption, document
from vlmtsc.reporting.method_words import recipe_text, source_text
from vlmtsc.reporting.methods_text import counted, write_methods
from vlmtsc.reporting.references import (
    bibliography,
    cited_keys,
    read_references,
    references_of_dataset,
)
from vlmtsc.reporting.scenario_words import FAULTS, describe_scenario
from vlmtsc.reporting.text_forms import to_html, to_latex, to_markdown
from vlmtsc.representation.compat import NEEDS
from vlmtsc.training.settings import FinetuneSettings
from write_methods_text import write_methods_text

ROOT = Path(__file__).parents[2]
KNOWN = read_references(ROOT / "config/references.bib")
NUMBERS = {"modality": "numbers", "numbers": "scaled", "plot": "none", "levels": 31, "context_length": 192}


def text_of(provenance: dict[str, Any]) -> str:
    return to_markdown(write_methods(provenance, KNOWN), [])


def test_numbers_are_those_of_settings_and_records() -> None:
    numbers = {"name": "numbers", **NUMBERS}
    runs = [run_of("plot"), run_of("numbers", told={"scenario": numbers, "plot": None, "image_tokens": 0})]
    text = text_of(merged(runs))
    for part in (
        "one dataset with 1,234 cases (",
        "| Toy | 740 | 247 | 247 | 3 | 77 | 2 |",
        "60% training, 20% validation and 20% test cases (seeds 42 and 21)",
        "72 tokens in the mean, of which the image takes 49",
        "integers from -31 to 31 with blanks",
        "A case may take 192 tokens",
        "The factor is 3.",
        "rank 7, alpha 14, scaled by alpha over rank, dropout 0.1",
        "0.0003 for LoRA and 0.002 for the projector",
        "at most 11 epochs and at most 12,345 training tokens",
        "Of 50 million parameters, adapters included, 2.0 million are trained",
        "(seed 0)",
        "Abacus 9 (4 cores, two threads a run, no GPU, 24 GiB of memory)",
        "Two fine-tunings took 20 minutes in all and 19.8k training tokens",
        f"revision `{'a' * 40}`",
        "95% Wilson score intervals [@wilson]",
        "a white picture, the picture of another case, of another class as far as possible, the same numbers "
        "in another "
        "order and no numbers",
    ):
        assert part in text, part
    assert "@bootstrap" in text  # of the difference of two scenarios
    assert "[@aeon]" not in text


def test_what_was_not_done_is_not_told() -> None:
    text = text_of(merged([run_of("plot")], options={"evaluate": dict.fromkeys(EVALUATE, False)}))
    for word in (
        "## Controls",
        "## Baselines",
        "temperature",
        "freely",
        "@holm",
        "@wilcoxon",
        "numbers in another order",
    ):
        assert word not in text, word


def test_seeds_splits_and_changed_series_are_told() -> None:
    split = {
        "settings": {"protocol": "official", "validation_share": 0.3},
        "n_cases": PART["split"]["n_cases"],
    }
    facts = PART["facts"] | {"values_interpolated": 17, "cases_dropped": ["a", "b"]}
    text = text_of(merged([run_of("plot", seed=seed) for seed in (4, 5)], split=split, facts=facts))
    assert (
        "the archive's own; for validation a stratified share of 30% of TRAIN was set apart (seed 21)" in text
    )
    assert "In Toy, 17 missing values were interpolated linearly." in text
    assert "In Toy, two cases were left out." in text
    assert "trained with the seeds 4 and 5" in text
    assert "standard deviation" in text
    assert "2,000 resamples of seeds and of cases" in text


def test_rankings_are_told_where_there_are_enough_datasets() -> None:
    runs = [run_of(name) for name in ("a", "b", "c")]
    names = [f"D{number}" for number in range(6)]
    assert "@wilcoxon" in text_of(merged(runs, datasets=names))
    assert "@wilcoxon" not in text_of(merged(runs, datasets=names[:5]))


def test_every_baseline_has_words_and_known_citations() -> None:
    records = [{"baseline": name, "seed": 0, "chosen": {}} for name in BASELINES]
    text = text_of(merged([run_of("plot")], baselines=records))
    assert "## Baselines" in text
    assert "0, 1, 3, 5, 10 and 20% of the length" in text
    assert {"dtw", "minirocket", "multirocket", "hydra", "fcn", "sklearn", "aeon"} <= set(cited_keys(text))
    assert "tslearn" not in cited_keys(text)


def test_every_row_of_the_tables_can_be_told() -> None:
    configuration = load_configuration_files([], ROOT)
    told = {}
    for name, row in configuration.scenario_table.items():
        plot = configuration.plot_settings(row["plot"]) if row["plot"] != "none" else None
        told[name] = describe_scenario(row, plot)
        assert set(cited_keys(told[name])) <= set(KNOWN), name
        assert not re.search(r"[{}]|None|  ", told[name]), told[name]
    # Rows that differ in what the model is given differ in words, but for the length of the context and the name.
    assert told["plot"] != told["plot_gaf"] != told["plot_recurrence"] != told["plot_spectrogram"]
    assert "largest-triangle" in told["numbers_lttb"]
    assert "a letter" in told["numbers_letters"]
    assert "only the answer is scored" in told["rationale_after_answer"]
    faulty = told["as_published_BASELINE_2048"]
    assert "the plot does not reach the model" in faulty
    assert "no case is cut" not in faulty
    assert set(FAULTS) >= {*NEEDS, "merged_labels"}


def test_every_dataset_of_the_table_has_known_citations() -> None:
    with (ROOT / "config/datasets.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        keys, added = references_of_dataset(row["name"], row["citation"], KNOWN)
        assert keys
        assert added == {}, row["name"]
    keys, added = references_of_dataset(
        "My_Data", "Somebody 2020, A thing {50% of it}; doi:10.1109/JAS.2019.1911747", KNOWN
    )
    assert keys == ["dataset-MyData-1", "ucr"]
    assert "Somebody 2020" in added["dataset-MyData-1"].text()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"use_rslora": True}, "[@rslora]"),
        ({"use_dora": True}, "[@dora]"),
        ({"quantization": "nf4"}, "[@qlora]"),
        ({"ema_decay": 0.99}, "decay 0.99"),
        ({"keep": "last"}, "that of the last step"),
        ({"early_stopping_patience": 0}, "A run has at most 11 epochs"),
        ({"lora_targets": "query_value"}, "query and value projections"),
    ],
)
def test_options_of_a_recipe_are_told_where_they_are_used(changes: dict[str, Any], found: str) -> None:
    plain, changed = recipe_text(RECIPE), recipe_text({**RECIPE, **changes})
    assert found in changed
    assert changed != plain
    assert set(cited_keys(changed)) <= set(KNOWN)


def test_every_setting_of_a_recipe_is_told_or_known_to_change_little() -> None:
    told = {**RECIPE, "early_stopping_steps": 60}
    others = {
        **{"lora_targets": "mlp", "use_rslora": True, "use_dora": True, "quantization": "nf4"},
        **{"ema_decay": 0.9, "keep": "last", "precision": "fp32"},
    }
    #: How a batch is divided, kernels, and the seed, which each run has for itself.
    untold = {"seed", "micro_batch_size", "attention", "torch_compile"}
    for field in fields(FinetuneSettings):
        value = told.get(field.name, field.default)
        changed = others.get(field.name) or (value + 1 if isinstance(value, int | float) else "sdpa")
        differs = recipe_text({**told, field.name: changed}) != recipe_text(told)
        assert differs == (field.name not in untold), field.name


def test_models_are_told_by_their_source() -> None:
    models = load_configuration_files([], ROOT).model_table
    assembled = source_text("embedded", models["embedded"]["source"], {"language": {"hidden_size": 576}})
    assert "first 6 layers of `SmolLM2-135M-Instruct.Q4_1.gguf` [@smollm2] (width 576)" in assembled
    assert "stride 16 and 32" in assembled
    hub = source_text("big", models["llava-1.5-7b"]["source"], {"language": {"num_hidden_layers": 32}})
    assert (
        "`llava-hf/llava-1.5-7b-hf` at revision `b234b804b114d9e37bb655e11cbbb5f5e971b7a9`, with 32 decoder "
        "layers" in hub
    )
    assert "/secret/place" not in source_text("own", {"folder": {"path": "/secret/place"}}, {})


def test_only_what_is_cited_is_in_the_references(tmp_path: Path) -> None:
    from vlmtsc.files import write_json

    write_json(tmp_path / "provenance.json", merged([run_of("plot_50%")]))
    outputs = []
    for place in ("one", "two"):
        write_methods_text(tmp_path / "provenance.json", ROOT / "config/references.bib", tmp_path / place)
        outputs.append({path.name: path.read_bytes() for path in (tmp_path / place).iterdir()})
    assert outputs[0] == outputs[1]
    assert set(outputs[0]) == {"methods.md", "methods.tex", "methods.html", "references.bib"}
    latex = outputs[0]["methods.tex"].decode()
    cited = {key for group in re.findall(r"\\cite\{([^}]*)\}", latex) for key in group.split(",")}
    held = read_references_of(outputs[0]["references.bib"].decode(), tmp_path)
    assert cited == held == set(cited_keys(outputs[0]["methods.md"].decode()))
    assert "tslearn" not in held
    assert r"plot\_\allowbreak{}50\%" in latex
    assert latex.count("{") == latex.count("}")
    assert not re.search(r"(?<!\\)[%&#](?! Needs)", latex.split("\n", 1)[1].replace(" & ", " "))
    assert "Table~\\ref{tab:datasets}" in latex


def read_references_of(text: str, folder: Path) -> set[str]:
    (folder / "again.bib").write_text(text)
    return set(read_references(folder / "again.bib"))


def test_html_escapes_and_numbers_citations() -> None:
    text = write_methods(merged([run_of("<b>")]), KNOWN)
    page = to_html(text, bibliography(text.cited, KNOWN))
    assert "<code>&lt;b&gt;</code>" in page
    assert '[<a href="#vlmtsc">1</a>]' in page
    assert page.count("<li id=") == len(text.cited)
    assert to_latex(text).count(r"\subsection") == len(text.sections)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("@article{a,\n  title = {x},\n}\n@misc{a,\n  title = {y},\n}\n", "a stands twice"),
        ("@article{a,\n  title = x,\n}\n", "title = x"),
        ("nonsense\n", "nonsense"),
    ],
)
def test_a_faulty_bibliography_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "faulty.bib").write_text(content)
    with pytest.raises(InputError, match=rf"faulty\.bib.*{message}"):
        read_references(tmp_path / "faulty.bib")


def test_a_citation_without_an_entry_is_named() -> None:
    with pytest.raises(InputError, match="unheard-of"):
        bibliography(["ucr", "unheard-of"], KNOWN)


def test_references_read_like_references() -> None:
    assert KNOWN["wilson"].text() == (
        "Edwin B. Wilson. Probable Inference, the Law of Succession, and Statistical Inference. Journal of the "
        "American "
        "Statistical Association 22(158), 209\N{EN DASH}212. 1927."
    )
    assert KNOWN["wilson"].link == "https://doi.org/10.1080/01621459.1927.10502953"
    assert KNOWN["lora"].link == "https://arxiv.org/abs/2106.09685"
    assert "Ben Allal" in KNOWN["smollm2"].text()
    assert " et al. " in KNOWN["smollm2"].text()
    fields = {"article": "journal", "inproceedings": "booktitle", "mastersthesis": "school", "misc": "title"}
    assert all(
        {fields[entry.kind], "title", "year", "author"} <= set(entry.fields) for entry in KNOWN.values()
    )


def test_small_numbers_are_words() -> None:
    assert [counted(number, "case") for number in (0, 1, 2, 11, 1200)] == [
        *("no cases", "one case", "two cases", "11 cases", "1,200 cases"),
    ]


def test_the_document_shows_every_part() -> None:
    figures = {f"figures/a_{number}.pdf": "" for number in range(11)} | {
        "figures/b/c.pdf": "50% of ``one`` *thing*.\nMore."
    }
    text = document(["accuracy", "runs"], figures)
    assert r"\input{tables/accuracy}" in text
    assert r"\caption{a 3}" in text
    assert r"\caption{50\% of \texttt{one} thing. More.}" in text
    assert text.count(r"\includegraphics[width") == 12
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert caption("{% for x in y %}") == caption(".. image:: x") == caption("see `a`_") == ""


def test_a_picture_is_told_with_its_settings() -> None:
    row = {"name": "x", "modality": "plot", "numbers": "none", "plot": "p", "context_length": 9}
    text = describe_scenario(row, PLOT | {"axis_limits": "shared", "inches": 5.5, "dpi": 72})
    assert "5.5 by 5.5 inches at 72 dots per inch" in text
    assert "the same limits for all series" in text
