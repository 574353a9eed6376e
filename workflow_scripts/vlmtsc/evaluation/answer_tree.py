"""Answers that begin alike, as a tree: what they share goes through the model once, and many of them in one pass.

The answers "1", "12" and "123" and their ends are one path. The nodes of a tree are read side by side, each of which
sees the prompt and what leads to it (tree attention, as in speculative decoding [1]_).

References
----------
.. [1] X. Miao et al., "SpecInfer: Accelerating large language model serving with tree-based speculative inference and
   verification", ASPLOS 2024.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AnswerTree:
    """The beginnings of some answers that something follows, each once.

    Attributes
    ----------
    answers : list of int
        Which answers these are.
    tokens, parents, depths : list of int
        Of each node: its token, the node before it (-1 for the first token of an answer) and how many nodes lead to it.
    targets : list of (place, node, token)
        The likelihood of `token` after `node` belongs to the answer at this place of `answers`.
    """

    answers: list[int]
    tokens: list[int]
    parents: list[int]
    depths: list[int]
    targets: list[tuple[int, int, int]]

    @property
    def is_path(self) -> bool:
        """Whether each node follows the one before it, as in ordinary text."""
        return self.parents == list(range(-1, len(self.parents) - 1))

    def attention_mask(self) -> torch.Tensor:
        """Return which nodes each node sees: itself and those that lead to it.

        Returns
        -------
        torch.Tensor
            bool, shape (n_nodes, n_nodes).
        """
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):  # a parent comes before what follows it
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen


def make_tree(rests: Sequence[Sequence[int]], answers: Sequence[int]) -> AnswerTree:
    """Make the tree of some answers.

    Parameters
    ----------
    rests : sequence of sequence of int
        Tokens of all answers.
    answers : sequence of int
        Which of them the tree holds; each of two tokens or more.

    Returns
    -------
    AnswerTree
    """
    nodes: dict[tuple[int, ...], int] = {}
    targets = []
    for place, answer in enumerate(answers):
        rest = tuple(rests[answer])
        for length in range(1, len(rest)):
            node = nodes.setdefault(rest[:length], len(nodes))
            targets.append((place, node, rest[length]))
    return AnswerTree(
        answers=list(answers),
        tokens=[beginning[-1] for beginning in nodes],
        parents=[nodes.get(beginning[:-1], -1) for beginning in nodes],
        depths=[len(beginning) - 1 for beginning in nodes],
        targets=targets,
    )


def make_trees(rests: Sequence[Sequence[int]], most_nodes: int) -> Iterator[AnswerTree]:
    """Divide the answers of two tokens or more into trees.

    Neighbours in the order of their tokens, which share most, stay together.

    Parameters
    ----------
    rests : sequence of sequence of int
        Tokens of all answers.
    most_nodes : int
        Nodes of a tree at most; one of a single answer may have more.

    Yields
    ------
    AnswerTree
    """
    longer = sorted(
        (answer for answer, rest in enumerate(rests) if len(rest) > 1), key=lambda a: tuple(rests[a])
    )
    held: list[int] = []
    seen: set[tuple[int, ...]] = set()
    for answer in longer:
        beginnings = {tuple(rests[answer][:length]) for length in range(1, len(rests[answer]))}
        if held and len(seen | beginnings) > most_nodes:
            yield make_tree(rests, held)
            held, seen = [], set()
        held.append(answer)
        seen |= beginnings
    if held:
        yield make_tree(rests, held)
