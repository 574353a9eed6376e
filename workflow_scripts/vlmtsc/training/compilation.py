"""torch.compile, layer by layer."""

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
