"""Options of the decoder layers: torch.compile and activation checkpointing."""

from __future__ import annotations

from peft import PeftModel

from vlmtsc.model.checkpoint import inner_model


def compile_layers(model: PeftModel, backend: str = "inductor") -> None:
    """Compile the decoder layers of the language model, each by itself and in place, but for the last.

    Layers are all alike, so that one compilation serves them all, and what is around them (the selection of supervised
    positions, the merging of image features) would break the graph. The last layer is where that selection begins
    (`answer_rows`). Names of parameters stay as they are.

    Parameters
    ----------
    model : PeftModel
    backend : str
        Of torch.compile.
    """
    for layer in inner_model(model).model.language_model.layers[:-1]:
        layer.compile(backend=backend, dynamic=True)  # batches differ in length


def set_activation_checkpointing(model: PeftModel, enabled: bool) -> None:
    """Switch activation checkpointing of the language model's layers on or off.

    The vision tower is frozen and runs without gradient. The hooks that make token embeddings require a gradient are
    removed: only reentrant checkpointing needs them. The last layer keeps its activations: its backward pass comes
    first, so recomputing them would free nothing, and it computes few positions (`answer_rows`).
    """
    language_model = inner_model(model).model.language_model
    if enabled:
        language_model.activation_checkpointing_enable()
        language_model.disable_input_require_grads()
        language_model.layers[-1].gradient_checkpointing = False
    else:
        language_model.activation_checkpointing_disable()
