"""Hostile or broken data files, up to the conversations: each works, or ends with one line that says where."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build_conversations import build_conversations
from download_dataset import download_dataset
from preprocess_dataset import preprocess_dataset
from split_dataset import split_dataset
from vlmtsc.data import readers
from vlmtsc.data.cleaning import clean_series, index_labels
from vlmtsc.data.series import NO_LABEL, LabelledSeries, canonical_label
from vlmtsc.errors import InputError
from vlmtsc.representation.prompts import label_texts
from vlmtsc.settings import CleaningSettings, DownloadSettings, PlotSettings, ScenarioSettings, SplitSettings

Files = dict[str, str | bytes]


def to_conversations(
    files: Files,
    folder: Path,
    checkpoint: Path,
    *,
    protocol: str = "pooled",
    context_length: int = 4096,
    **cleaning: str,
) -> dict[str, list[dict[str, object]]]:
    """Take a dataset X from its files to its conversations, as the rules do."""
    own = folder / "own" / "X"
    own.mkdir(parents=True)
    for name, content in files.items():
        (own / f"X_{name}").write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "hashes.txt").write_text("")
    source = DownloadSettings(name="X", sources=("folder",), folder=str(folder / "own"))
    download_dataset(source, folder / "hashes.txt", folder / "wheels", folder)
    cleaning_settings = CleaningSettings(**cleaning)  # type: ignore[arg-type]
    preprocess_dataset(folder / "archive.npz", "X", cleaning_settings, folder)
    split_dataset(folder / "series.npz", SplitSettings(protocol=protocol), folder / "split")  # type: ignore[arg-type]
    scenario = ScenarioSettings(
        name="both", modality="both", numbers="decimals", context_length=context_length
    )
    parts = {part: folder / f"{part}.json" for part in ("train", "validation", "test")}
    build_conversations(
        folder / "series.npz",
        folder / "split/split.npz",
        checkpoint,
        scenario,
        folder,
        plot=PlotSettings(),
    )
    return {part: json.loads(path.read_text()) for part, path in parts.items()}


def rows(n: int, length: int = 4, classes: int = 2, sign: str = "\t") -> str:
    """Write a table of cases whose labels take turns."""
    generator = np.random.default_rng(0)
    return "".join(
        sign.join([str(case % classes), *(f"{value:.2f}" for value in generator.normal(size=length))]) + "\n"
        for case in range(n)
    )


def both(name: str, train: str | bytes, test: str | bytes | None = None) -> Files:
    return {f"TRAIN.{name}": train, f"TEST.{name}": train if test is None else test}


def labelled(first: str, second: str) -> Files:
    """Give cases of two classes with these labels."""
    return both("tsv", "".join(f"{label}\t1\t{case}\n" for case in range(4) for label in (first, second)))


def arff(
    data: str, attributes: str = "@attribute a numeric\n@attribute b numeric\n", label: str = "{u,v}"
) -> str:
    return f"@relation x\n{attributes}@attribute class {label}\n@data\n{data}"


TS = "@classLabel true u v\n@data\n1,2:u\n2,1:v\n3,1:u\n"
RELATIONAL = "@attribute r relational\n@attribute a numeric\n@attribute b numeric\n@end r\n"

#: What is read, to the end of conversations.
WORKS: dict[str, Files] = {
    "two classes": both("tsv", rows(6)),
    "one TEST case": both("tsv", rows(6), rows(1)),
    "three cases": both("tsv", rows(2), rows(1)),
    "a class with one case": both("tsv", rows(6) + "9\t1\t2\t3\t4\n"),
    "a class of TEST alone": both("tsv", rows(6), rows(6) + "9\t1\t2\t3\t4\n"),
    "every case a class": both("tsv", rows(8, classes=8)),
    "2,000 classes": both("tsv", rows(2000, 2, 2000), rows(10, 2)),
    "length 1": both("tsv", rows(6, 1)),
    "length 20,000": both("tsv", rows(2, 20_000), rows(1, 20_000)),
    "constant series": both("tsv", "1\t3\t3\t3\n2\t3\t3\t3\n" * 3),
    "zeros of both signs": both("tsv", "1\t0\t-0\t0.0\n2\t-0.0\t0\t0\n" * 3),
    "the same case twice": both("tsv", "1\t1\t2\n1\t1\t2\n2\t1\t2\n2\t1\t2\n"),
    "missing values": both("tsv", "1\t\t2\tNaN\n2\t?\t5\tnan\n" * 3),
    "unequal lengths": both("tsv", "1\t1\t2\t3\n2\t1\t2\tNaN\n" * 3),
    "1e59": both("tsv", "1\t1e59\t-1e59\n2\t1\t2\n" * 3),
    "1e-320": both("tsv", "1\t1e-320\t-1e-320\n2\t1\t2\n" * 3),
    "300 digits": both("tsv", f"1\t0.{'3' * 300}\t1\n2\t1\t2\n" * 3),
    "signs and blanks": both("tsv", " 1 \t +1.5 \t-.5\n2\t1.\t2e0 \n" * 3),
    "UTF-8 with a mark": both("tsv", b"\xef\xbb\xbf" + rows(6).encode()),
    "Windows line ends": both("tsv", rows(6).replace("\n", "\r\n")),
    "old line ends": both("tsv", rows(6).replace("\n", "\r")),
    "no line end at the end": both("tsv", rows(6).rstrip("\n")),
    "empty lines": both("tsv", rows(6).replace("\n", "\n\n")),
    "commas": both("tsv", rows(6, sign=",")),
    "blanks": both("txt", rows(6, sign="   ")),
    "semicolons": both("tsv", rows(6, sign=";")),
    "Latin-1 labels": {k: v.encode("latin-1") for k, v in labelled("caf\xe9", "th\xe9").items()},  # type: ignore[union-attr]
    "labels with quotes": labelled("it's", '"two"'),
    "labels with braces": labelled("{dataset}", "}{0}%s"),
    "labels with shell characters": labelled("$(touch x);`y`|&>", "a\\nb*?~!"),
    "labels like options": labelled("--help", "-rf"),
    "labels like paths": labelled("../../etc", "/"),
    "labels of the chat": labelled("<image>", "USER: ASSISTANT:</s>"),
    "labels of other scripts": labelled("\u732b", "\U0001f408\u200d\u2b1b"),
    "labels with line separators": labelled("a\u2028b\x85", "a\x1cb"),
    "long labels": labelled("a" * 5000, "b" * 5000),
    "labels none and inf": labelled("none", "inf"),
    "labels that differ by case": labelled("Walk", "walk"),
    "labels that differ by form are one": both("tsv", "1\t1\t2\n1.0\t1\t3\n2\t2\t2\n" * 2),
    ".ts": both("ts", TS),
    ".ts with comments and blanks": both("ts", "# x\n\n" + TS.replace("@data\n", "@data\n\n# y\n")),
    ".ts header of another size": both("ts", "@univariate true\n@dimensions 7\n@seriesLength 99\n" + TS),
    ".ts header of no missing values": both("ts", "@missing false\n" + TS.replace("1,2:u", "1,?:u")),
    ".ts of two channels": both("ts", "@data\n1,2:3,4:u\n5,6:7,8:v\n1,2:3,4:u\n"),
    ".ts of unequal lengths": both("ts", "@equalLength false\n@data\n1,2:u\n1,2,3:v\n1:u\n"),
    ".arff": both("arff", arff("1,2,u\n2,1,v\n3,3,u\n")),
    ".arff with Windows line ends": both("arff", arff("1,2,u\n2,1,v\n3,3,u\n").replace("\n", "\r\n")),
    ".arff with a mark": both("arff", "\ufeff" + arff("1,2,u\n2,1,v\n3,3,u\n")),
    ".arff with comments": both("arff", "% x\n" + arff("% y\n1,2,u\n\n2,1,v\n3,3,u\n")),
    ".arff with quoted labels": both("arff", arff("1,2,'a b'\n2,1,\"c,d\"\n", label="{'a b',\"c,d\"}")),
    ".arff with missing values": both("arff", arff("1,?,u\n?,1,v\n3,3,u\n")),
    ".arff with text as labels": both("arff", arff("1,2,u v\n2,1,w\n", label="string")),
    ".arff with numbers as labels": both("arff", arff("1,2,0\n2,1,1\n3,3,1\n", label="numeric")),
    ".arff of two channels": both("arff", arff("'1,2\\n3,4',u\n'5,6\\n7,8',v\n", RELATIONAL)),
}

#: What is refused, and what the line says: file, row and what is allowed.
REFUSED: dict[str, tuple[Files, str]] = {
    "empty file": (both("tsv", ""), r"X_TRAIN\.tsv: no cases"),
    "empty TEST": (both("tsv", rows(6), ""), r"X_TEST\.tsv: no cases"),
    "blank lines alone": (both("tsv", "\n \n\t\n"), r"X_TRAIN\.tsv(: no cases|, line 3: empty class label)"),
    "a header": (
        both("tsv", "label\tt0\tt1\n1\t2\t3\n"),
        r"X_TRAIN\.tsv, line 1: value 1 is 't0', not a finite",
    ),
    "labels alone": (
        both("tsv", "1\n2\n"),
        r"X_TRAIN\.tsv, line 1: 1 field, needed are a label and at least",
    ),
    "one class": (
        both("tsv", rows(6, classes=1)),
        r"dataset X: .* 1 classes \(0\) are left; needed are .* two",
    ),
    "one case": (both("tsv", rows(1)), r"dataset X: of 2 cases 1 TRAIN cases and 1 classes"),
    "two cases": (
        both("tsv", "1\t1\n", "2\t2\n"),
        r"series\.npz: pooled split: 2 cases; needed are at least 3",
    ),
    "Inf": (
        both("tsv", rows(3) + "1\t1\t2\tInf\t4\n"),
        r"X_TRAIN\.tsv, line 4: value 3 is 'Inf', not a finite",
    ),
    "1e999": (both("tsv", rows(3) + "1\t1\t2\t1e999\t4\n"), r"X_TRAIN\.tsv, line 4: value 3 is '1e999'"),
    "1e308": (
        both("tsv", rows(3) + "1\t1\t2\t-1e308\t4\n"),
        r"X_TRAIN\.tsv, case 4 has .* 1e\+308; allowed: 1e\+60",
    ),
    "no value in a case": (both("tsv", rows(3) + "1\t\t\t\t\n"), r"X_TRAIN\.tsv, case 4 has no value"),
    "a word": (
        both("tsv", rows(3) + "1\t1\tx\t3\t4\n"),
        r"X_TRAIN\.tsv, line 4: value 2 is 'x', not a finite number",
    ),
    "a number with underscores": (both("tsv", "1\t1_0\n"), r"X_TRAIN\.tsv, line 1: value 1 is '1_0'"),
    "hexadecimal": (both("tsv", "1\t0x10\n"), r"X_TRAIN\.tsv, line 1: value 1 is '0x10'"),
    "decimal commas": (both("txt", "1 0,5 0,7\n"), r"X_TRAIN\.txt, line 1: value 1 is '5 0'"),
    "a short row": (
        both("tsv", rows(3) + "1\t1\n"),
        r"X_TRAIN\.tsv, line 4: 1 values, the cases above have 4",
    ),
    "a long row of TEST": (
        both("tsv", rows(3), rows(3) + "1\t1\t2\t3\t4\t5\n"),
        r"X_TEST\.tsv, line 4: 5 values",
    ),
    "no label": (both("tsv", rows(3) + "\t1\t2\t3\t4\n"), r"X_TRAIN\.tsv, line 4: empty class label"),
    "UTF-16": (
        both("tsv", rows(6).encode("utf-16")),
        r"X_TRAIN\.tsv: text in UTF-16; allowed: UTF-8",
    ),
    "a binary file": (both("tsv", bytes(range(256))), r"X_TRAIN\.tsv: holds zero bytes"),
    "HTML": (both("tsv", "<html>Log in</html>\n"), r"X_TRAIN\.tsv, line 1: "),
    "no TEST": ({"TRAIN.tsv": rows(6)}, r"looked for X_TRAIN and X_TEST, .*found: X/X_TRAIN\.tsv"),
    "no TRAIN": ({"TEST.tsv": rows(6)}, r"found: X/X_TEST\.tsv"),
    "two formats": ({"TRAIN.tsv": rows(6), "TEST.ts": TS}, r"found: X/X_TEST\.ts, X/X_TRAIN\.tsv"),
    ".ts without @data": (both("ts", "1,2:u\n"), r"X_TRAIN\.ts: no line @data"),
    ".ts header alone": (both("ts", "@problemName x\n@data\n"), r"X_TRAIN\.ts: no cases"),
    ".ts without labels": (both("ts", "@classLabel false\n@data\n1,2\n"), r"X_TRAIN\.ts: no class labels"),
    ".ts case without a label": (both("ts", TS + "1,2\n"), r"X_TRAIN\.ts, line 6: no class label at the end"),
    ".ts of @data twice": (both("ts", TS + "@data\n"), r"X_TRAIN\.ts, line 6: no class label"),
    ".ts label with a colon": (both("ts", "@data\n1,2:a:b\n"), r"X_TRAIN\.ts, line 2: value 1 is 'a'"),
    ".ts separated by blanks": (both("ts", "@data\n1 2:a\n"), r"X_TRAIN\.ts, line 2: value 1 is '1 2'"),
    ".ts of other classes": (
        both("ts", TS.replace("u v", "x y")),
        r"X_TRAIN\.ts, line 3: class label 'u' is not declared in the header; allowed: x, y",
    ),
    ".ts channels of two lengths": (
        both("ts", "@data\n1,2:3:u\n"),
        r"X_TRAIN\.ts, line 2: channels of 1, 2 values",
    ),
    ".ts cases of other channels": (
        both("ts", TS + "1,2:3,4:u\n"),
        r"X_TRAIN\.ts, line 6: 2 channels, the cases",
    ),
    ".ts TEST of other channels": (
        both("ts", TS, "@data\n1,2:3,4:u\n"),
        r"X_TEST\.ts, case 1 has 2 channels, the",
    ),
    ".ts against @equalLength": (
        both("ts", "@equalLength true\n" + TS + "1:u\n"),
        r"X_TRAIN\.ts, line 7: 1 values",
    ),
    ".arff header alone": (both("arff", arff("")), r"X_TRAIN\.arff"),
    ".arff without @data": (both("arff", "@relation x\n@attribute a numeric\n"), r"X_TRAIN\.arff"),
    ".arff of another class": (
        both("arff", arff("1,2,u\n1,2,w\n")),
        r"X_TRAIN\.arff, line 7: class label 'w' is not declared",
    ),
    ".arff of a short row": (
        both("arff", arff("1,2,u\n1,u\n")),
        r"X_TRAIN\.arff, line 7: 2 fields, but the header declares 3",
    ),
    ".arff of a word": (both("arff", arff("1,2,u\nx,2,u\n")), r"X_TRAIN\.arff, line 7: .*'x'"),
    ".arff of sparse rows": (both("arff", arff("{0 1,2 u}\n")), r"X_TRAIN\.arff, line 6: a sparse row"),
    ".arff of dates": (
        both("arff", arff("2001,u\n", "@attribute a date yyyy\n")),
        r"X_TRAIN\.arff: attribute 'a' is date",
    ),
    ".arff of Inf": (
        both("arff", arff("1,2,u\n1,1e999,v\n")),
        r"X_TRAIN\.arff, line 7: value 2 is '1e999'",
    ),
    ".arff channels of two lengths": (
        both("arff", arff("'1,2\\n3',u\n", RELATIONAL)),
        r"X_TRAIN\.arff, line 8: channels of 1, 2 values",
    ),
}


@pytest.mark.parametrize("files", WORKS.values(), ids=WORKS)
def test_it_works_to_the_end_of_conversations(files: Files, tmp_path: Path, tiny_checkpoint: Path) -> None:
    parts = to_conversations(files, tmp_path, tiny_checkpoint, unequal_length="resample")
    facts = json.loads((tmp_path / "facts.json").read_text())
    records = [record for part in parts.values() for record in part]
    assert sorted(record["id"] for record in records) == [f"X-{case:05d}" for case in range(facts["n_cases"])]
    # The map of labels is one to one, and every case is told the answer of its own label.
    assert sorted(facts["label_map"].values()) == list(range(facts["n_classes"]))
    answers = {(record["label"], record["conversations"][1]["value"]) for record in records}  # type: ignore[index]
    assert len(answers) == facts["n_classes"]
    assert len({answer for _, answer in answers}) == facts["n_classes"]
    assert {record["label"] for record in records} == set(facts["label_map"])
    # Whatever a label holds, a question holds one placeholder of an image.
    for record in records[:50]:
        assert record["conversations"][0]["value"].count("<image>") == 1  # type: ignore[index]


@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_one_line(files: Files, message: str, tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(InputError) as error:
        to_conversations(files, tmp_path, tiny_checkpoint)
    assert re.search(message, str(error.value)), str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_class_with_one_training_case_is_in_the_train_set_only(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    files = both("tsv", rows(6) + "9\t1\t2\t3\t4\n", rows(6))
    parts = to_conversations(files, tmp_path, tiny_checkpoint, protocol="official")
    assert [record["label"] for record in parts["train"]].count("9") == 1
    assert {record["label"] for record in parts["validation"]} == {"0", "1"}


@pytest.mark.parametrize("context_length", [1, 30])
def test_a_context_too_small_for_a_single_value(
    context_length: int, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    with pytest.raises(
        InputError, match=r"series\.npz, scenario both, model .*: context_length=\d+: even with one"
    ):
        to_conversations(both("tsv", rows(6)), tmp_path, tiny_checkpoint, context_length=context_length)
    assert not (tmp_path / "train.json").exists()


FIELDS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([".tsv", ".txt", ".ts", ".arff"]),
    st.one_of(
        st.binary(max_size=300),
        st.text(string.digits + "\t\n\r,.:-+eE?@nainf% '\"{}", max_size=300).map(str.encode),
        st.lists(st.lists(FIELDS, max_size=4).map("\t".join), max_size=5).map(
            lambda lines: "\n".join(lines).encode()
        ),
        st.text(string.digits + ",:u\n", max_size=100).map(
            lambda data: f"@classLabel true u\n@data\n{data}".encode()
        ),
        st.text(string.digits + ",uv'\n?", max_size=100).map(lambda data: arff(data).encode()),
    ),
)
def test_a_reader_gives_cases_or_says_why_not(suffix: str, content: bytes) -> None:
    name = f"X_TRAIN{suffix}"
    try:
        series, labels, _ = readers.read_part(content, name)
    except InputError as error:
        series, labels, said = [], [], str(error)
    else:
        said = None
    if said is not None:
        assert said.startswith(name)
        return
    assert len(series) == len(labels) > 0
    assert all(case.ndim == 2 and case.dtype == np.float64 for case in series)
    assert all(label.strip() for label in labels)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.text(
                st.characters(codec="utf-8", exclude_characters="\0\t\n\r"), min_size=1, max_size=8
            ).filter(
                lambda label: (
                    label.strip() == label
                    and not label.startswith(("\ufeff", '"'))
                    and label.lower() not in NO_LABEL
                )
            ),
            st.lists(st.floats(-1e60, 1e60), min_size=2, max_size=2),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_a_table_is_read_as_it_was_written(cases: list[tuple[str, list[float]]]) -> None:
    text = "".join("\t".join([label, *map(repr, values)]) + "\n" for label, values in cases)
    series, labels, _ = readers.read_part(text.encode(), "X_TRAIN.tsv")
    assert labels == [label for label, _ in cases]
    assert [case[0].tolist() for case in series] == [values for _, values in cases]
    part = (series, labels)
    joined = LabelledSeries.from_parts(part, part)
    assert joined.labels.tolist() == [canonical_label(label) for label in labels] * 2
    if len(set(joined.labels.tolist())) > 1:
        clean, _ = clean_series(joined, "X", CleaningSettings())
        assert clean.classes[clean.label_index].tolist() == joined.labels.tolist()


@settings(deadline=None)
@given(
    st.sampled_from(["numbers", "letters"]),
    st.lists(
        st.text(min_size=1, max_size=5).filter(
            lambda label: label.strip().lower() not in {*NO_LABEL, ""} and "\0" not in label
        ),
        min_size=1,
    ),
)
def test_answers_are_one_to_one_with_labels(kind: str, labels: list[str]) -> None:
    index, classes = index_labels(np.array([canonical_label(label) for label in labels]))
    answers = label_texts(kind, classes.tolist())
    assert len(set(answers)) == len(classes)
    told = [answers[position] for position in index]
    for first, one in zip(labels, told, strict=True):
        for second, other in zip(labels, told, strict=True):
            assert (one == other) == (canonical_label(first) == canonical_label(second))
