"""A hosted model as it comes: asked the test questions of a scenario, its answers read as text."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmtsc.baselines.results import BaselineResult, one_hot
from vlmtsc.describe.client import DescriberClient, chat_request, request_digest
from vlmtsc.evaluation.metrics import INVALID
from vlmtsc.files import read_json
from vlmtsc.representation.plot_files import plots_in
from vlmtsc.representation.prompts import IMAGE_TOKEN
from vlmtsc.representation.representation import Representation, choose_shots
from vlmtsc.settings import EndpointSettings


def questions(
    conversations: Path, plots: Path | None, settings: EndpointSettings, shots: int
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return a chat-completions request for each test case of a scenario, and the answers by class index.

    Each question has the plot, as a data URL, the scenario's text, and the allowed answers. Before it come `shots`
    solved training cases of each class, as turns of the same chat. Nothing depends on a test case's class.
    """
    answers = Representation.load(conversations / "representation.json").label_texts
    train, test = (read_json(conversations / f"{name}.json") for name in ("train", "test"))
    allowed = f"Answer with one of these and nothing else: {', '.join(answers)}"

    def turn(record: Mapping[str, Any]) -> dict[str, Any]:
        text = record["conversations"][0]["value"].removeprefix(f"{IMAGE_TOKEN}\n")
        content: Any = f"{allowed}\n\n{text}"
        if plots is not None:
            image = base64.b64encode((plots_in(plots) / record["image"]).read_bytes()).decode()
            url = {"url": f"data:image/png;base64,{image}"}
            content = [{"type": "image_url", "image_url": url}, {"type": "text", "text": content}]
        return {"role": "user", "content": content}

    solved = []
    labels = np.array([record["label_index"] for record in train])
    for case in choose_shots(labels, shots):
        solved += [turn(train[case]), {"role": "assistant", "content": answers[labels[case]]}]
    return [chat_request([*solved, turn(record)], settings) for record in test], answers


def read_reply(text: str, answers: Sequence[str]) -> int:
    """Return the index of the answer that a text equals, or else of the only one that it contains; or `INVALID`.

    An answer is contained as a whole word: ``The class is 1.`` has the answer 1, and ``10`` has not.
    """
    if text in answers:
        return answers.index(text)
    longest_first = sorted(map(re.escape, answers), key=len, reverse=True)
    found = set(re.findall(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", text))
    return answers.index(found.pop()) if len(found) == 1 else INVALID


def ask_hosted_model(
    client: DescriberClient,
    conversations: Path,
    plots: Path | None,
    settings: EndpointSettings,
    shots: int,
    name: str,
) -> BaselineResult:
    """Ask a hosted model the test questions of a scenario; `name` is their subject, for messages.

    InputError as in `DescriberClient.ask`; answers before it are cached.
    """
    bodies, answers = questions(conversations, plots, settings, shots)
    replies = client.ask(bodies, name)
    texts = [reply["text"] for reply in replies]
    indices = np.array([read_reply(text, answers) for text in texts])
    asked = {request_digest(body): reply for body, reply in zip(bodies, replies, strict=True)}.values()
    facts = {
        "endpoint_model": settings.model,
        "answered_by": sorted({reply["answered_by"] for reply in asked}),
        "shots": shots,
        "requests": len(asked),
        "prompt_tokens": sum(reply["usage"].get("prompt_tokens", 0) for reply in asked),
        "completion_tokens": sum(reply["usage"].get("completion_tokens", 0) for reply in asked),
        "cut_at_max_tokens": sum(reply["finish_reason"] == "length" for reply in asked),
    }
    return BaselineResult(None, one_hot(indices, len(answers)), False, facts, (texts, indices))
