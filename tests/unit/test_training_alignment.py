"""Alignment of the projector: class codes, training, image tokens, pooling, soft answers, resuming."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from model_parts import make_projector
from tiny_llava import recipe
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from vlmtsc.errors import InputError
from vlmtsc.model.pooled_llava import IMAGE_PART
from vlmtsc.settings import AGREED_WEIGHT, NOISE, SHORTEST
from vlmtsc.training.alignment import (
    Labelled,
    ProjectorHead,
    SoftAnswers,
    align_projector,
    aligned_once,
    alignment_digest,
    class_codes,
    padded_answers,
    shown_tokens,
)
from vlmtsc.training.trainer import soft_loss

WIDTH, HIDDEN, TOKENS = 6, 16, 8
END = 39
#: "1" to "12" as digits and an end token; names of several tokens; the same tokens in another order.
ANSWERS: dict[str, list[list[int]]] = {
    "two tokens": [[7], [9]],
    "prefixes": [[5, *[10 + int(digit) for digit in str(number)], END] for number in range(1, 13)],
    "names": [[5, 20, 21], [5, 22], [5, 20, 23, 24]],
    "orders": [[30, 31], [31, 30]],
    "equal": [[30], [30], [31]],
}


class Projector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(WIDTH, 12), nn.Linear(12, HIDDEN)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear_2(torch.tanh(self.linear_1(features)))


@pytest.fixture
def embeddings() -> torch.Tensor:
    return torch.randn(40, HIDDEN, generator=torch.Generator().manual_seed(0))


def make_head(embeddings: torch.Tensor, answers: list[list[int]], seed: int = 0) -> ProjectorHead:
    torch.manual_seed(seed)
    return ProjectorHead(Projector(), class_codes(embeddings, answers), margin=10.0, precision="fp32")


def make_features(n_classes: int, n_cases: int = 48) -> tuple[torch.Tensor, list[int]]:
    """Make noisy tokens around a centre of each class."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(n_classes, WIDTH, generator=generator)
    labels = [case % n_classes for case in range(n_cases)]
    noise = 0.3 * torch.randn(n_cases, TOKENS, WIDTH, generator=generator)
    return centres[labels][:, None] + noise, labels


def align(
    head: ProjectorHead, n_classes: int, seed: int = 0, wrong: bool = False, **changes: Any
) -> dict[str, Any]:
    """Align on 36 cases with 12 for validation, whose labels may be wrong."""
    features, labels = make_features(n_classes)
    torch.manual_seed(seed)
    settings = recipe(**{"align_steps": 120, "align_token_share": 0.5, "align_learning_rate": 1e-2} | changes)
    parts = [
        Labelled(range(36), labels[:36]),
        Labelled(range(36, 48), labels[37:] + labels[:1] if wrong else labels[36:]),
    ]
    return align_projector(head, lambda cases: features[list(cases)], *parts, settings, 0.25)


@pytest.mark.parametrize("kind", ANSWERS)
def test_codes_are_equally_far_apart(embeddings: torch.Tensor, kind: str) -> None:
    codes = class_codes(embeddings, ANSWERS[kind])
    products = codes @ codes.T
    expected = torch.full_like(products, -1 / (len(codes) - 1)).fill_diagonal_(1)
    torch.testing.assert_close(products, expected, atol=1e-5, rtol=0)


def test_codes_of_two_tokens_are_their_difference(embeddings: torch.Tensor) -> None:
    first, second = class_codes(embeddings, [[5, 7], [5, 9]])
    expected = normalize(embeddings[7] - embeddings[9], dim=0)
    assert float(first @ expected) > 0.999
    torch.testing.assert_close(second, -first)


def test_codes_lie_near_the_answers_own_embeddings(embeddings: torch.Tensor) -> None:
    tokens = list(range(8))
    codes = class_codes(embeddings, [[token] for token in tokens])
    found = (codes @ (embeddings[tokens] - embeddings[tokens].mean(0)).T).argmax(1)
    assert found.tolist() == tokens


def test_codes_of_many_classes_are_distinct() -> None:
    answers = [[*map(int, f"{number:04d}"), END] for number in range(2000)]
    wide = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    codes = class_codes(wide, answers)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(2000))
    assert float((codes @ codes.T).fill_diagonal_(-1).max()) < 0.9


def test_the_head_is_a_softmax_of_the_mean_of_normalised_tokens(embeddings: torch.Tensor) -> None:
    head = make_head(embeddings, ANSWERS["names"])
    features, _ = make_features(3)
    with torch.no_grad():
        scores = head(features)
        tokens = head.projector(features[5])
        mean = sum(token / token.norm() for token in tokens) / TOKENS
        logits = torch.stack([mean @ code for code in head.codes]) * (10 + math.log(2)) * 2 / 3
    torch.testing.assert_close(scores[5], logits.log_softmax(0))
    torch.testing.assert_close(head.scores(lambda cases: features[cases], range(48), batch_size=5), scores)


@pytest.mark.parametrize("kind", ["two tokens", "names", "prefixes"])
def test_alignment_learns_and_keeps_the_lowest_validation_loss(embeddings: torch.Tensor, kind: str) -> None:
    head = make_head(embeddings, ANSWERS[kind])
    n_classes = len(ANSWERS[kind])
    record = align(head, n_classes)
    features, labels = make_features(n_classes)
    scores = head.scores(lambda cases: features[cases], range(36, 48))
    assert float(cross_entropy(scores, torch.tensor(labels[36:]))) == pytest.approx(
        record["validation_loss"], rel=1e-5
    )
    assert record["validation_accuracy"] == (scores.argmax(1) == torch.tensor(labels[36:])).double().mean()
    assert record["validation_accuracy"] > 0.9
    assert record["steps"] == 120
    assert record["epochs"] == 60.0
    assert record["kept_step"] in (50, 100, 120)
    # Half of the tokens of each case of an epoch, 60 times, and all of those that determine the scale.
    assert record["projected_tokens"] == 60 * 36 * TOKENS // 2 + 36 * TOKENS
    with torch.no_grad():
        tokens = head.projector(features[:36])
    assert float(tokens.pow(2).mean().sqrt()) == pytest.approx(0.25, rel=1e-5)
    assert not any(parameter.requires_grad for parameter in head.projector.parameters())


def test_alignment_stops_without_progress(embeddings: torch.Tensor) -> None:
    head = make_head(embeddings, ANSWERS["two tokens"])
    record = align(head, 2, wrong=True, align_steps=400, align_patience=2)
    assert (record["kept_step"], record["steps"]) == (50, 150)


def test_a_large_validation_set_is_scored_less_often(
    embeddings: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    # A step has 2 x 0.1 cases' tokens, 50 steps have 10, and a validation has 12.
    head = make_head(embeddings, ANSWERS["two tokens"])
    align(head, 2, align_steps=250, align_batch_size=2, align_token_share=0.1)
    assert re.findall(r"step (\d+)/250", caplog.text) == ["100", "200", "250"]


def test_epochs_limit_the_alignment(embeddings: torch.Tensor) -> None:
    record = align(make_head(embeddings, ANSWERS["two tokens"]), 2, align_epochs=3)
    assert (record["steps"], record["epochs"]) == (6, 3.0)


def test_a_seed_repeats_an_alignment_and_another_does_not(embeddings: torch.Tensor) -> None:
    heads = [make_head(embeddings, ANSWERS["names"]) for _ in range(3)]
    for head, seed in zip(heads, (0, 0, 1), strict=True):
        align(head, 3, seed=seed)
    one, again, other = (head.projector.linear_2.weight for head in heads)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_an_alignment_that_diverges_is_refused(embeddings: torch.Tensor) -> None:
    head = make_head(embeddings, ANSWERS["names"])
    with pytest.raises(
        InputError, match=r"alignment: the loss is nan at step 50; a lower align_learning_rate"
    ):
        align(head, 3, align_learning_rate=1e30)


@pytest.mark.parametrize(("share", "count"), [(1.0, 8), (0.5, 4), (0.01, 1)])
def test_shown_tokens_are_some_of_a_cases_own_in_their_order(share: float, count: int) -> None:
    places = torch.arange(TOKENS).float().repeat(20, 1)[..., None]
    shown = shown_tokens(places, share)[..., 0]
    assert shown.shape == (20, count)
    assert (shown.diff(dim=1) > 0).all()
    assert len({tuple(row) for row in shown.tolist()}) > 1 or share == 1


def pooled_head(embeddings: torch.Tensor, answers: list[list[int]]) -> ProjectorHead:
    """Return a head on the embedded model's projector, whose constant part has length 2."""
    torch.manual_seed(0)
    projector = make_projector(WIDTH, HIDDEN, repetitions=3)
    projector.constant.data[0] = 2
    return ProjectorHead(projector, class_codes(embeddings, answers), margin=10.0, precision="fp32")


def test_a_pooled_token_is_the_mean_of_its_tokens_beside_a_constant(embeddings: torch.Tensor) -> None:
    head = pooled_head(embeddings, ANSWERS["names"])
    features, _ = make_features(3)
    projector = head.projector
    with torch.no_grad():
        tokens = projector.linear_2(projector.act(projector.linear_1(features[5])))
        mean = sum(token / token.norm() for token in tokens) / TOKENS
        shown = projector(features)
        scores = head(features)
    constant = torch.eye(HIDDEN)[0] * 2
    assert shown.shape == (48, 3, HIDDEN)
    for token in shown[5]:
        torch.testing.assert_close(token, constant + IMAGE_PART * 2 * mean)
    # The aligned projector classifies as one without pooling.
    expected = (head.scale * mean @ head.codes.T).log_softmax(0)
    torch.testing.assert_close(scores[5], expected)
    torch.testing.assert_close(head.tokens(head.project(features)), shown)


def test_alignment_of_a_pooling_projector_keeps_the_constant_part(embeddings: torch.Tensor) -> None:
    head = pooled_head(embeddings, ANSWERS["names"])
    record = align(head, 3)
    assert record["validation_accuracy"] > 0.9
    assert record["projected_tokens"] == 60 * 36 * TOKENS // 2  # the scale needs none
    assert torch.equal(head.projector.constant, torch.eye(HIDDEN)[0] * 2)


@pytest.mark.parametrize("make", [make_head, pooled_head])
def test_cases_have_the_heads_answer_to_what_they_show(embeddings: torch.Tensor, make: Any) -> None:
    head = make(embeddings, ANSWERS["names"])
    features, _ = make_features(3)
    answers = padded_answers(ANSWERS["names"])
    with torch.no_grad():
        tokens, own = head.projector(features), head(features).exp()
    shown, probabilities = SoftAnswers(head, 0.0, answers)(features)
    torch.testing.assert_close(shown, tokens)
    torch.testing.assert_close(probabilities, own)
    torch.manual_seed(0)
    shown, probabilities = SoftAnswers(head, 0.7, answers)(features)
    assert shown.shape == tokens.shape
    assert 0.5 < (shown != tokens).any(2).any(1).double().mean() < 0.9
    torch.testing.assert_close(probabilities.sum(1), torch.ones(48))
    if head.pools:  # the answer is that to the mean within the token
        mean = (shown[:, 0] - head.projector.constant) / (IMAGE_PART * 2)
        torch.testing.assert_close(probabilities, (head.scale * mean @ head.codes.T).softmax(1))
    else:
        torch.testing.assert_close(probabilities, head.classify(shown).exp())


@pytest.mark.parametrize("n_cases", [1, 2, 4])
@pytest.mark.parametrize("make", [make_head, pooled_head])
def test_a_mixed_case_shows_mostly_itself(embeddings: torch.Tensor, n_cases: int, make: Any) -> None:
    head = make(embeddings, ANSWERS["names"])
    cases = torch.eye(HIDDEN)[:n_cases, None]  # orthogonal: coordinates are shares
    torch.manual_seed(0)
    mixed = torch.stack([SoftAnswers(head, 1.0, torch.zeros(1, 1))._mixed(cases)[:, 0] for _ in range(400)])
    shares, rest = mixed[..., :n_cases], mixed[..., n_cases:].norm(dim=2)
    own = shares.diagonal(dim1=1, dim2=2)
    others = shares.mean(0) - torch.diag(own.mean(0))
    kept = shares.sum(2)
    assert (own.mean(0) > 0.55 * kept.mean(0)).all()
    if n_cases > 1:
        assert (others[~torch.eye(n_cases, dtype=torch.bool)] > 0.02).all()  # every other case is shown
    if head.pools:  # shortened, and with noise
        assert kept.mean() == pytest.approx((SHORTEST + 1) / 2, abs=0.03)
        assert ((kept > SHORTEST - 2 * NOISE) & (kept < 1 + 2 * NOISE)).all()
        assert 0.05 < rest.mean() < rest.max() <= NOISE
    else:
        torch.testing.assert_close(kept, torch.ones_like(kept))
        assert not rest.any()


def test_soft_answers_are_exact_within_mixed_precision(embeddings: torch.Tensor) -> None:
    head = replace(pooled_head(embeddings, ANSWERS["prefixes"]), precision="bf16")
    features, _ = make_features(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        shown, probabilities = SoftAnswers(head, 1.0, padded_answers(ANSWERS["prefixes"]))(features)
    assert shown.dtype == probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(1), torch.ones(48))


def slow_soft_loss(log_likelihoods, case_answers, label, probabilities) -> float:
    """Sum over the tokens of the case's answer, with the next tokens of all classes alike so far."""
    total = 0.0
    for place in range(len(case_answers[label])):
        alike = [
            index
            for index, answer in enumerate(case_answers)
            if answer[:place] == case_answers[label][:place] and len(answer) > place
        ]
        weight = 1 if len({case_answers[index][place] for index in alike}) > 1 else AGREED_WEIGHT
        mass = sum(float(probabilities[index]) for index in alike)
        for index in alike:
            share = float(probabilities[index]) / mass
            total -= weight * share * float(log_likelihoods[place, case_answers[index][place]])
    return total


@pytest.mark.parametrize("kind", ["two tokens", "prefixes", "names", "orders"])
def test_soft_loss_equals_a_slow_reference(kind: str) -> None:
    answers = ANSWERS[kind]
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, len(answers) - 1, 1])
    targets = torch.full((3, 9), -100)
    for row, label in enumerate(labels.tolist()):
        answer = answers[label]
        targets[row, 2 : 2 + len(answer)] = torch.tensor(answer)
    supervised = targets >= 0
    logits = torch.randn(int(supervised.sum()), 40, generator=generator)
    probabilities = torch.rand(3, len(answers), generator=generator).softmax(1)
    found = soft_loss(logits, supervised, targets, labels, probabilities, padded_answers(answers))
    parts = logits.log_softmax(1).split(supervised.sum(1).tolist())
    expected = sum(
        slow_soft_loss(part, answers, label, row)
        for part, label, row in zip(parts, labels.tolist(), probabilities, strict=True)
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_soft_loss_behind_the_answer_is_the_cross_entropy() -> None:
    answers = ANSWERS["names"]
    targets = torch.tensor([[*answers[1], 33, 34, -100]])
    supervised = targets >= 0
    logits = torch.randn(4, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
    certain = torch.tensor([[1e-9, 1.0, 1e-9]])
    found = soft_loss(logits, supervised, targets, torch.tensor([1]), certain, padded_answers(answers))
    losses = cross_entropy(logits, targets[supervised], reduction="none")
    torch.testing.assert_close(found, losses @ torch.tensor([0.1, 1.0, 0.1, 0.1]))
    (gradient,) = torch.autograd.grad(found, logits, retain_graph=True)
    assert gradient.isfinite().all()
    # A class whose probability underflows is learnt from its label.
    impossible = soft_loss(
        logits, supervised, targets, torch.tensor([1]), torch.zeros(1, 3), padded_answers(answers)
    )
    torch.testing.assert_close(impossible, 0.1 * losses.sum())
    (gradient,) = torch.autograd.grad(impossible, logits)
    assert gradient.isfinite().all()


def test_a_stored_alignment_is_of_the_same_inputs(embeddings: torch.Tensor) -> None:
    features, labels = make_features(2)

    def digest(head_seed: int = 0, answers: str = "two tokens", last: int = 48, **changes: Any) -> str:
        head = make_head(embeddings, ANSWERS[answers], head_seed)
        parts = Labelled(range(36), labels[:36]), Labelled(range(36, last), labels[36:last])
        return alignment_digest(
            head, lambda cases: features[list(cases)], *parts, recipe(**changes), embedding_scale=0.25
        )

    first = digest()
    assert digest(lora_r=5, learning_rate=0.1, batch_size=8) == first  # of the second stage
    others = [
        *(digest(head_seed=1), digest(answers="orders"), digest(last=47), digest(seed=1)),
        *(digest(align_margin=11.0), digest(align_steps=7)),
    ]
    features[40, 3, 2] += 1
    others.append(digest())
    labels[40] = 1 - labels[40]
    others.append(digest())
    assert len({first, *others}) == 1 + len(others)


def test_the_settings_of_an_alignment_are_known_by_their_names(embeddings: torch.Tensor) -> None:
    features, labels = make_features(2)
    settings, names = recipe(align_steps=10), set()

    class Read:
        def __getattr__(self, name: str) -> Any:
            names.add(name)
            return getattr(settings, name)

    parts = Labelled(range(36), labels[:36]), Labelled(range(36, 48), labels[36:])
    head = make_head(embeddings, ANSWERS["two tokens"])
    align_projector(head, lambda cases: features[list(cases)], *parts, Read(), 0.25)
    assert len(names) > 5
    assert {name for name in names if not name.startswith("align_")} == set()


def test_an_alignment_is_stored_and_read_once(tmp_path: Path) -> None:
    calls = []

    def aligning(projector: Projector) -> Any:
        def change() -> dict[str, Any]:
            calls.append(1)
            nn.init.constant_(projector.linear_1.bias, len(calls))
            return {"steps": len(calls)}

        return change

    first, second, third = Projector(), Projector(), Projector()
    assert aligned_once(tmp_path, first, aligning(first)) == ({"steps": 1}, False)
    assert aligned_once(tmp_path, second, aligning(second)) == ({"steps": 1}, True)
    assert len(calls) == 1
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)
    file = tmp_path / "projector.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    assert aligned_once(tmp_path, third, aligning(third)) == ({"steps": 2}, False)
