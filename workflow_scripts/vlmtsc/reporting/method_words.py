"""Models, recipes and baselines in words, from their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vlmtsc.baselines.nearest import WINDOWS

#: Packages whose versions a text tells: name in the records, name for readers, citation.
PACKAGES = (
    ("python", "Python", ""),
    ("torch", "PyTorch", " [@pytorch]"),
    ("transformers", "transformers", " [@transformers]"),
    ("peft", "peft", " [@peft]"),
    ("accelerate", "accelerate", ""),
    ("snakemake", "Snakemake", ""),
)
TARGETS = {
    "all": "all linear layers",
    "attention": "the linear layers of the attention",
    "mlp": "the linear layers of the feed-forward blocks",
    "query_value": "the query and value projections",
}
PRECISIONS = {"bf16": "bfloat16", "tf32": "TensorFloat-32", "fp32": "float32"}


def source_text(model: str, source: Mapping[str, Any], architecture: Mapping[str, Any]) -> str:
    """Say where a model comes from.

    Parameters
    ----------
    model : str
        Its name in the table of models.
    source : mapping
        Its row's source, under its kind.
    architecture : mapping
        What `digest_model` has read of its checkpoint; may be empty.
    """
    [(kind, settings)] = source.items()
    if kind == "hub":
        return (
            f"The model `{model}` is LLaVA [@llava15], `{settings['repository']}` at revision "
            f"`{settings['revision']}`, {_frozen(architecture)}"
        )
    if kind == "folder":
        return (
            f"The model `{model}` is a LLaVA checkpoint [@llava15] of the user's own, {_frozen(architecture)}"
        )
    language, vision = settings["language_model"], settings["vision_tower"]
    text = architecture.get("language", {})
    width = f" (width {text['hidden_size']})" if "hidden_size" in text else ""
    strides = " and ".join(map(str, settings["vision_strides"]))
    return (
        f"The model `{model}` has LLaVA 1.5's architecture [@llava15] and is put together from two pretrained "
        "parts: the "
        f"first {settings['layers']} layers of `{_file(language)}`{_cited(language)}{width}, and "
        f"`{_file(vision)}`"
        f"{_cited(vision)} as vision tower, whose feature maps of stride {strides} make the image tokens. "
        "Between them is a "
        f"two-layer projector, initialised at random (seed {settings['seed']}). The vision tower stays frozen."
    )


def _frozen(architecture: Mapping[str, Any]) -> str:
    layers = architecture.get("language", {}).get("num_hidden_layers")
    told = f"with {layers} decoder layers; " if layers else ""
    return f"{told}its vision tower stays frozen."


def _file(place: str) -> str:
    """Return the file of ``PACKAGE==VERSION:PATH``, without folders."""
    return place.rpartition("/")[2].rpartition(":")[2]


def _cited(place: str) -> str:
    known = {"smollm2": " [@smollm2]", "efficientnet": " [@efficientnet]"}
    return next((citation for name, citation in known.items() if name in place.lower()), "")


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """Describe a recipe: the settings of `FinetuneSettings` without the seed."""
    scaled = (
        "alpha over the square root of the rank [@rslora]" if recipe.get("use_rslora") else "alpha over rank"
    )
    text = [
        f"Fine-tuning trains LoRA matrices [@lora] in {TARGETS[recipe.get('lora_targets', 'all')]} of the "
        "language model "
        f"(rank {recipe['lora_r']}, alpha {recipe['lora_alpha']}, scaled by {scaled}, dropout "
        f"{recipe['lora_dropout']:g}) and, "
        "where there are images, the projector in full.",
        "The loss is the mean negative log-likelihood of the answer's tokens, the end token among them.",
        f"AdamW [@adamw] (beta2 {recipe['adam_beta2']:g}, weight decay {recipe['weight_decay']:g}) has the "
        "peak learning rates "
        f"{recipe['learning_rate']:g} for LoRA and {recipe['projector_learning_rate']:g} for the projector, "
        "with linear warm-up "
        f"over {100 * recipe['warmup_ratio']:g}% of the steps and then a cosine to zero; gradients are clipped "
        "to the norm "
        f"{recipe['max_grad_norm']:g}. A step takes {recipe['batch_size']} cases.",
    ]
    if recipe.get("use_dora"):
        text.append("The length of each row of the weights is trained by itself [@dora].")
    if recipe.get("quantization", "none") != "none":
        text.append("The language model's frozen matrices are stored in four bits [@qlora].")
    limits = [f"at most {recipe['epochs']:g} epochs"]
    if recipe["token_budget"]:
        limits.append(f"at most {recipe['token_budget']:,} training tokens, image tokens included")
    text.append(f"A run has {' and '.join(limits)}.")
    if recipe["early_stopping_patience"]:
        granted = recipe.get("early_stopping_steps", 0)
        steps = f", and {granted} steps," if granted else ""
        text.append(
            f"It stops after {recipe['early_stopping_patience']} validations{steps} in a row without a validation "
            "loss that is "
            f"{recipe['early_stopping_threshold']:g} nats a case below the best; those before any was better "
            "than chance do "
            "not count."
        )
    if recipe["keep"] == "best":
        text.append(
            "The adapter that is kept is that of the latest validation whose loss is within "
            f"{recipe['early_stopping_threshold']:g} nats of the lowest."
        )
    else:
        text.append("The adapter that is kept is that of the last step.")
    if recipe.get("ema_decay"):
        text.append(
            "What is validated and kept is an exponential average of the trained weights (decay "
            f"{recipe['ema_decay']:g})."
        )
    text.append(f"Matrix products are computed in {PRECISIONS[recipe['precision']]}.")
    return " ".join(text)


def _dtw() -> str:
    shares = ", ".join(f"{100 * share:g}" for share in WINDOWS[:-1])
    return (
        "1-nearest-neighbour with dynamic time warping, all channels warped together, and the half-width of "
        "the Sakoe-Chiba "
        f"band [@dtw] chosen on validation among {shares} and {100 * WINDOWS[-1]:g}% of the length"
    )


#: What each baseline is; functions, since some look up the numbers of their modules.
BASELINES: dict[str, Callable[[], str]] = {
    "majority": lambda: "the most frequent class of the training part",
    "euclidean_1nn": lambda: "1-nearest-neighbour with the Euclidean distance",
    "dtw_1nn": _dtw,
    "minirocket": lambda: "MiniRocket with a ridge classifier [@minirocket; @aeon]",
    "multirocket_hydra": lambda: "MultiRocket-Hydra with a ridge classifier [@multirocket; @hydra; @aeon]",
    "fcn": lambda: "a fully convolutional network [@fcn], its epoch chosen on validation",
    "logistic_tower": lambda: (
        "logistic regression on the frozen vision tower's features of the plots, its penalty chosen on "
        "validation [@sklearn]"
    ),
    "logistic_language": lambda: (
        "logistic regression on the untuned language model's last hidden state behind the questions, its "
        "penalty chosen on "
        "validation [@sklearn]"
    ),
}
