"""A checkpoint's processor: loading, what takes the place of an image in a text, and its chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from PIL import Image
from transformers import AutoProcessor, processing_utils
from transformers.utils import is_torchvision_available
from transformers.video_processing_utils import VideoProcessorMixin

from vlmtsc.errors import InputError
from vlmtsc.representation.prompts import ChatFormat, llava_format
from vlmtsc.representation.tokens import TextTokens
from vlmtsc.settings import PlotSettings, Template, unknown

#: Contents by which a chat template is taken apart, with blanks that it may strip.
QUESTION, ANSWER = " Question-7f3a ", "Answer-7f3a"
#: Begin and end of the text in which recent models reason before they answer.
THINK, THOUGHT = "<think>", "</think>"


@dataclass(frozen=True)
class ImageLayout:
    """What a processor writes in place of an image.

    Attributes
    ----------
    before, after : str
        Plain text, which the tokenizer may join with the text around it.
    tokens : tuple of (str, int)
        Tokens between the two, each with its repetitions; the first and the last are special tokens.
    """

    before: str
    tokens: tuple[tuple[str, int], ...]
    after: str

    @property
    def count(self) -> int:
        """Number of tokens."""
        return sum(count for _, count in self.tokens)

    @property
    def placeholder(self) -> str:
        """Text of the image in which the first token stands for all of them."""
        return f"{self.before}{self.tokens[0][0]}{self.after}"


class NoVideos(VideoProcessorMixin):
    """Stands in for a video processor, for which transformers needs torchvision."""

    num_frames = fps = 0

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> NoVideos:
        """Return one, whatever the checkpoint."""
        return cls()


if not is_torchvision_available():
    # A copy of the package, in which processors look up the classes of their parts.
    processing_utils.transformers_module.VideoProcessorMixin = VideoProcessorMixin
    names = processing_utils.MODALITY_TO_AUTOPROCESSOR_MAPPING._MAPPING_NAMES
    names["video_processor"] = (__name__, NoVideos.__name__)


def load_processor(checkpoint: Path) -> Any:
    """Load a checkpoint's processor with its tokenizer; Pillow resizes, so that pixels are the same everywhere."""
    return AutoProcessor.from_pretrained(checkpoint, backend="pil")


def process_image(processor: Any, image: Image.Image, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a processor's output for one image: PyTorch tensors, and `text_replacement_offsets`."""
    return processor(
        images=[[image]] if _nests_images(processor) else [image],
        text=[processor.image_token],
        return_tensors="pt",
        return_text_replacement_offsets=True,
        images_kwargs=dict(options),
    )


def _nests_images(processor: Any) -> bool:
    """Whether a processor takes a list of images for each text."""
    return "return_row_col_info" in getattr(processor, "images_kwargs", {})


def image_layout(processor: Any, size: tuple[int, int], options: Mapping[str, Any]) -> ImageLayout:
    """Return what a processor writes in place of an image of `size` (width, height).

    InputError if the processor does not say so, or an option is unknown.
    """
    own = getattr(type(processor), "replace_image_token", None)
    if own in (None, processing_utils.ProcessorMixin.replace_image_token):
        raise InputError(
            f"{type(processor).__name__}: does not say which tokens replace an image; allowed: a processor with the "
            "method replace_image_token"
        )
    check_image_options(processor, options)
    [[replaced]] = process_image(processor, Image.new("RGB", size, "white"), options)[
        "text_replacement_offsets"
    ]
    text, tokenizer = replaced["replacement"], processor.tokenizer
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    tokens, offsets = encoded["input_ids"], encoded["offset_mapping"]
    special = [place for place, token in enumerate(tokens) if token in tokenizer.added_tokens_decoder]
    if not special:
        raise InputError(
            f"tokenizer: no special token in place of an image ({text[:40]!r}, ...); allowed: one"
        )
    first, last = special[0], special[-1]
    names = tokenizer.convert_ids_to_tokens(tokens[first : last + 1])
    layout = tuple((name, len(list(same))) for name, same in groupby(names))
    return ImageLayout(text[: offsets[first][0]], layout, text[offsets[last][1] :])


def check_image_options(processor: Any, options: Mapping[str, Any]) -> None:
    """Raise InputError if an option is none of the image processor's."""
    images = processor.image_processor
    known = {name for kind in images.valid_kwargs.__mro__ for name in getattr(kind, "__annotations__", {})}
    known |= set(images.valid_kwargs.__annotations__)
    for name in options:
        if name not in known:
            raise InputError(f"image_options: {unknown('option', name, known)} of {type(images).__name__}")


def chat_format(
    processor: Any, template: Template, system: str = "", image: ImageLayout | None = None
) -> ChatFormat:
    """Return the text around question and answer.

    Parameters
    ----------
    processor : ProcessorMixin
    template : {"llava_v1", "model"}
        LLaVA v1's, or the checkpoint's own.
    system : str
        System prompt. If it is empty, the checkpoint's template writes its own, if it has one.
    image : ImageLayout, optional
        If the question has an image.

    Raises
    ------
    InputError
        If there is no chat template, or it is none of questions and answers.
    """
    tokenizer = processor.tokenizer
    shown = "" if image is None else image.placeholder
    if template == "llava_v1":
        return llava_format(system=system, image=shown, end=tokenizer.eos_token)
    if not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
        raise InputError(
            "template=model, but the checkpoint has no chat template; allowed: template=llava_v1"
        )
    asked = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    parts: list[dict[str, str]] = [] if image is None else [{"type": "image"}]
    asked.append({"role": "user", "content": [*parts, {"type": "text", "text": QUESTION}]})
    answered = [*asked, {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}]
    prompt, whole = _render(processor, asked, prompt=True), _render(processor, answered, prompt=False)
    core = QUESTION.strip()
    if prompt.count(core) != 1 or whole.count(core) != 1 or whole.count(ANSWER) != 1:
        raise InputError(
            f"chat template: writes {prompt[:200]!r}; allowed: the question and the answer, each once"
        )
    strips = QUESTION not in prompt
    question = core if strips else QUESTION
    begin, ask = prompt.split(question)
    between, after = whole.split(question)[1].split(ANSWER)
    blank = ""
    if between.startswith(ask):
        blank = between[len(ask) :]
    elif not ask.startswith(between):
        ask = between
    if ask.count(THINK) > ask.count(THOUGHT):
        ask = f"{ask.rstrip()}\n\n{THOUGHT}\n\n"  # no reasoning, as such templates write it
    repeated = ""
    if image is not None:
        if begin.count(processor.image_token) != 1:
            raise InputError(
                f"chat template: {begin.count(processor.image_token)} of {processor.image_token} before the question; "
                "allowed: one"
            )
        begin = begin.replace(processor.image_token, shown)
        repeated = _between_texts(processor, asked[:-1], question).replace(processor.image_token, shown)
        if shown not in repeated or not begin.endswith(repeated):
            repeated = ""
    first = tokenizer("")["input_ids"][:1]
    if first and first[0] == tokenizer.bos_token_id:  # the tokenizer adds it
        begin = begin.removeprefix(tokenizer.bos_token)
    return ChatFormat(begin, ask, blank, _end_token(tokenizer, after), strips, repeated)


def model_options(
    processor: Any,
    plot: PlotSettings | None,
    system_prompt: str,
    template: Template = "llava_v1",
    image_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what `vlmtsc.representation.conversations.make_conversations` takes of a model.

    `plot` has the settings of the scenario's plot, if it shows one. InputError as in `image_layout`, `chat_format` and
    `TextTokens`.
    """
    options = dict(image_options or {})
    if plot is None:
        image = None
    else:
        from vlmtsc.representation.plots import plot_size  # imports matplotlib, which trainings do without

        image = image_layout(processor, plot_size(plot), options)
    chat = chat_format(processor, template, system_prompt, image)
    tokens = TextTokens(processor.tokenizer, None if image is None else image.tokens[0][0])
    return {
        "count_tokens": tokens.count,
        "image_tokens": 0 if image is None else image.count,
        "system_prompt": system_prompt,
        "eos_token": chat.end,
        "chat": chat,
        "image_layout": () if image is None else image.tokens,
        "image_options": options,
    }


def _render(processor: Any, messages: list[dict[str, Any]], *, prompt: bool) -> str:
    """Return what the chat template writes; without reasoning, if it can be asked not to."""
    template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    options = {"enable_thinking": False} if "enable_thinking" in str(template) else {}
    try:
        return processor.apply_chat_template(
            messages, chat_template=template, add_generation_prompt=prompt, tokenize=False, **options
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise InputError(f"chat template: cannot write a question and its answer ({error})") from error


def _between_texts(processor: Any, system: list[dict[str, Any]], question: str) -> str:
    """Return what the chat template writes for the second image of a turn, between two texts; "" if it takes one."""
    image, texts = {"type": "image"}, [{"type": "text", "text": text} for text in (ANSWER, QUESTION)]
    turn = {"role": "user", "content": [image, texts[0], image, texts[1]]}
    try:
        written = _render(processor, [*system, turn], prompt=True)
    except InputError:
        return ""
    return written.partition(ANSWER)[2].partition(question)[0]


def _end_token(tokenizer: Any, after: str) -> str:
    """Return the special token that a chat template writes behind an answer; by default the end token."""
    tokens = tokenizer(after, add_special_tokens=False)["input_ids"]
    special = [token for token in tokens if token in tokenizer.added_tokens_decoder]
    return tokenizer.convert_ids_to_tokens(special[0]) if special else tokenizer.eos_token
