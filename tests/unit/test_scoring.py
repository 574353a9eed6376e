"""Whole-label log-likelihoods: batched, left-padded and cached, they equal one plain forward pass each."""

from __future__ import annotations

import dataclasses
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_llava import TinyTask, make_task, recipe
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vlmtsc import scoring
from vlmtsc.examples import answer_tokens, distinguishing_tokens, make_examples
from vlmtsc.model.adapter import add_adapter
from vlmtsc.model.checkpoint import load_checkpoint, position_ids
from vlmtsc.model.vision import VisionFeatures, load_pixels
from vlmtsc.representation.processor import load_processor
from vlmtsc.scoring import AnswerTree, left_padded, make_trees, score_examples, shared_prefix

TOLERANCE = {"atol": 2e-5, "rtol": 1e-5}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, examples of many lengths, and what scoring needs."""

    model: object
    processor: object
    task: TinyTask
    examples: list
    answers: list
    vision: VisionFeatures | None

    def scores(self, batch_size: int, answers: list | None = None, **options: object) -> np.ndarray:
        return score_examples(
            self.model,
            self.examples,
            distinguishing_tokens(answers or self.answers),
            features=self.vision,
            image_indices=[index % len(self.task.records["train"]) for index in range(len(self.examples))],
            pad_token_id=self.processor.tokenizer.pad_token_id,
            batch_size=batch_size,
            **({"precision": "fp32"} | options),
        )


def make_case(checkpoint: Path, folder: Path, attention: str = "eager", **options: object) -> Case:
    task = make_task(checkpoint, folder, n_train=13, **options)
    processor = load_processor(checkpoint)
    base = load_checkpoint(checkpoint, precision="fp32", attention=attention, context_length=512)
    examples = make_examples(task.records["train"], task.representation, processor.tokenizer)
    vision = None
    if task.plots is not None:
        paths = [task.plots / record["image"] for record in task.records["train"]]
        vision = VisionFeatures(base, processor, paths, precision="fp32", cache_mb=1)
    model = add_adapter(base, recipe()).eval()
    return Case(
        model,
        processor,
        task,
        examples,
        answer_tokens(processor.tokenizer, task.representation),
        vision,
    )


@pytest.fixture(
    scope="module",
    params=[("tiny_checkpoint", "eager"), ("llama_checkpoint", "eager"), ("tiny_checkpoint", "sdpa")],
    ids="-".join,
)
def twelve(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Give twelve classes, of answers "1" to "12"."""
    checkpoint, attention = request.param
    folder = tmp_path_factory.mktemp("plots")
    return make_case(request.getfixturevalue(checkpoint), folder, attention, n_classes=12)


def reference(case: Case, answers: list[list[int]]) -> np.ndarray:
    """Score one case and one answer in each forward pass, from pixels and over all logits."""
    scores = np.zeros((len(case.examples), len(answers)))
    for row, example in enumerate(case.examples):
        images = {}
        if case.task.plots is not None:
            images["pixel_values"] = load_pixels([case.task.plots / example.image], case.processor)
        for column, answer in enumerate(answers):
            tokens = torch.tensor([[*example.prompt, *answer]])
            with torch.no_grad():
                logits = case.model(input_ids=tokens, **images).logits[0].double()
            likelihoods = logits.log_softmax(-1)
            start = len(example.prompt)
            scores[row, column] = sum(
                likelihoods[start + position - 1, token].item() for position, token in enumerate(answer)
            )
    return scores


def test_whole_labels_equal_a_slow_reference(twelve: Case) -> None:
    expected = reference(twelve, distinguishing_tokens(twelve.answers))
    np.testing.assert_allclose(twelve.scores(8), expected, **TOLERANCE)
    assert expected.std(axis=1).min() > 0.1


@pytest.mark.parametrize("nodes", [1, 5])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", TOLERANCE), ("bf16", {"atol": 0.1})])
def test_trees_of_any_size_give_the_same_scores(
    twelve: Case, monkeypatch: pytest.MonkeyPatch, nodes: int, precision: str, tolerance: dict[str, float]
) -> None:
    whole = twelve.scores(8, precision=precision)
    row = len(twelve.processor.tokenizer) * 8
    monkeypatch.setattr(scoring, "LOGIT_BYTES", 8 * nodes * row)
    np.testing.assert_allclose(twelve.scores(8, precision=precision), whole, **tolerance)


def test_a_model_with_a_window_reads_one_answer_at_a_time(
    twelve: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = twelve.scores(8)
    asked = []
    monkeypatch.setattr(scoring, "make_trees", lambda *given: asked.append(given[1]) or make_trees(*given))
    twelve.scores(8)
    base = twelve.model.get_base_model()
    monkeypatch.setattr(base, "architecture", dataclasses.replace(base.architecture, sliding=True))
    np.testing.assert_allclose(twelve.scores(8), whole, **TOLERANCE)
    assert asked[0] > 11
    assert asked[-1] == 1


def test_a_kernel_that_takes_no_mask_reads_one_answer_at_a_time(
    twelve: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = twelve.scores(8)
    masks = []
    score_tree = scoring.score_tree

    def other_kernel(model: object, prefilled: object, tree: AnswerTree, attention: str) -> torch.Tensor:
        masks.append(tree.is_path)
        return score_tree(model, prefilled, tree, attention)

    monkeypatch.setattr(scoring, "score_tree", other_kernel)
    monkeypatch.setattr(scoring, "WITH_MASKS", ())
    np.testing.assert_allclose(twelve.scores(8), whole, **TOLERANCE)
    assert all(masks)
    assert len(masks) == 12 * 2


def test_batches_equal_one_by_one(twelve: Case) -> None:
    lengths = [example.tokens for example in twelve.examples]
    assert max(lengths) - min(lengths) >= 10
    np.testing.assert_allclose(twelve.scores(8), twelve.scores(1), **TOLERANCE)


def test_the_order_of_labels_does_not_matter(twelve: Case) -> None:
    order = [11, 2, 9, 0, 1, 10, 3, 4, 5, 6, 7, 8]
    shuffled = twelve.scores(5, answers=[twelve.answers[index] for index in order])
    np.testing.assert_allclose(shuffled, twelve.scores(5)[:, order], **TOLERANCE)


def test_a_closed_set_of_complete_answers_has_at_most_probability_one(twelve: Case) -> None:
    assert (np.exp(twelve.scores(8)).sum(axis=1) <= 1).all()


@pytest.mark.parametrize("modality", ["plot", "numbers", "both"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_single_token_labels_in_one_pass(
    tiny_checkpoint: Path, tmp_path: Path, modality: str, attention: str
) -> None:
    case = make_case(
        tiny_checkpoint, tmp_path / "plots", attention, modality=modality, n_classes=4, n_channels=2
    )
    answers = distinguishing_tokens(case.answers)
    assert answers == [answer[:-1] for answer in case.answers]
    np.testing.assert_allclose(case.scores(8), reference(case, answers), **TOLERANCE)
    np.testing.assert_allclose(case.scores(8), case.scores(1), **TOLERANCE)


def test_one_pass_for_single_tokens_and_one_more_for_a_tree_of_longer_labels(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    passes = []
    for n_classes in (4, 12, 40):
        case = make_case(tiny_checkpoint, tmp_path / f"{n_classes}", modality="plot", n_classes=n_classes)
        calls = []
        case.model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        dataclasses.replace(case, examples=case.examples[:4]).scores(4)
        passes.append(len(calls))
    assert passes == [1, 2, 2]


def test_two_thousand_classes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    case = make_case(tiny_checkpoint, tmp_path / "plots", "sdpa", n_classes=2000, modality="numbers")
    case = dataclasses.replace(case, examples=case.examples[:3])
    scores = case.scores(2)
    assert scores.shape == (3, 2000)
    assert (np.exp(scores).sum(axis=1) <= 1).all()
    some = [0, 9, 99, 109, 999, 1998, 1999]
    answers = distinguishing_tokens(case.answers)
    expected = reference(case, [answers[column] for column in some])
    np.testing.assert_allclose(scores[:, some], expected, **TOLERANCE)


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of tensors that operations made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._seen or not size:
            return
        self._seen.add(place)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self.live -= size


def test_memory_does_not_grow_with_the_number_of_cases(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    case = make_case(tiny_checkpoint, tmp_path_factory.mktemp("plots"), n_classes=12)
    paths = [case.task.plots / record["image"] for record in case.task.records["train"]]
    longest = max(range(len(paths)), key=lambda index: case.examples[index].tokens)
    peaks = []
    for cases in (4, 40):
        vision = VisionFeatures(
            case.model.get_base_model(), case.processor, paths, precision="fp32", cache_mb=0
        )
        same = dataclasses.replace(case, examples=[case.examples[longest]] * cases, vision=vision)
        with LiveMemory() as memory:
            same.scores(4)
        peaks.append(memory.peak)
    assert peaks[0] > 12 * len(case.processor.tokenizer) * 4  # it does see logits
    assert peaks[1] <= 1.02 * peaks[0]


def test_scoring_leaves_the_mode_as_it_was_and_says_what_each_batch_held(twelve: Case) -> None:
    told: list[list[int]] = []
    twelve.model.train()
    twelve.scores(5, then=lambda cases, prefilled: told.append(list(cases)))
    assert twelve.model.training
    twelve.model.eval()
    twelve.scores(5)
    assert not twelve.model.training
    assert [len(cases) for cases in told] == [5, 5, 3]
    assert sorted(case for cases in told for case in cases) == list(range(13))


def test_another_image_changes_the_scores(tiny_checkpoint: Path, tmp_path: Path) -> None:
    case = make_case(tiny_checkpoint, tmp_path / "plots", modality="plot")
    # From the plot alone all prompts are the same text, so that only the image can make a difference.
    assert len({tuple(example.prompt) for example in case.examples}) == 1
    assert np.ptp(case.scores(8), axis=0).min() > 1e-3


def test_end_tokens_count_only_where_one_label_begins_another() -> None:
    assert distinguishing_tokens([[5, 9], [6, 9]]) == [[5], [6]]
    assert distinguishing_tokens([[5, 9], [5, 6, 9]]) == [[5, 9], [5, 6, 9]]
    assert distinguishing_tokens([[5, 6, 9], [6, 5, 9], [7, 9]]) == [[5, 6], [6, 5], [7]]


label = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@given(st.lists(label, min_size=2, max_size=8, unique_by=tuple))
def test_what_is_scored_is_free_of_prefixes(bodies: list[list[int]]) -> None:
    kept = distinguishing_tokens([[*body, 0] for body in bodies])
    assert all(one == other[: len(one)] for one in kept for other in kept if one is other)
    assert not any(one == other[: len(one)] for one in kept for other in kept if one is not other)
    assert kept == bodies or kept == [[*body, 0] for body in bodies]
    prefix = shared_prefix(kept)
    assert all(tokens[: len(prefix)] == prefix and len(tokens) > len(prefix) for tokens in kept)
    assert (
        any(len(tokens) == len(prefix) + 1 for tokens in kept)
        or len({tokens[len(prefix)] for tokens in kept}) > 1
    )


@given(st.lists(label, min_size=1, max_size=8, unique_by=tuple), st.integers(1, 6))
def test_trees_hold_each_longer_answer_once(rests: list[list[int]], most_nodes: int) -> None:
    trees = list(make_trees(rests, most_nodes))
    held = [answer for tree in trees for answer in tree.answers]
    assert sorted(held) == [answer for answer, rest in enumerate(rests) if len(rest) > 1]
    for tree in trees:
        assert len(tree.tokens) <= most_nodes or len(tree.answers) == 1
        paths: list[tuple[int, ...]] = []
        for token, parent, depth in zip(tree.tokens, tree.parents, tree.depths, strict=True):
            paths.append((*(paths[parent] if parent >= 0 else ()), token))
            assert len(paths[-1]) == depth + 1
        assert len({*paths}) == len(paths)
        for place, answer in enumerate(tree.answers):
            steps = [(paths[node], token) for where, node, token in tree.targets if where == place]
            rest = tuple(rests[answer])
            assert steps == [(rest[:length], rest[length]) for length in range(1, len(rest))]
        for node, seen in enumerate(tree.attention_mask()):
            leading = [paths[other] for other in seen.nonzero().flatten().tolist()]
            assert sorted(leading) == [paths[node][:length] for length in range(1, len(paths[node]) + 1)]


def test_left_padding_counts_positions_from_each_start(twelve: Case) -> None:
    batch = left_padded([[4, 5, 6], [7]], pad_token_id=0)
    assert batch["input_ids"].tolist() == [[4, 5, 6], [0, 0, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert position_ids(twelve.model, batch, {}).tolist() == [[0, 1, 2], [0, 0, 0]]
