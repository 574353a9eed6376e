"""Names of the controls at test time, and thresholds of statistical statements; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

#: Level of all tests; intervals cover the rest.
ALPHA = 0.05
#: Methods and datasets that a ranking needs at least. On five datasets no two-sided signed-rank test can fall below
#: 0.05: its smallest p-value is 2 / 2**5.
METHODS_NEEDED, DATASETS_NEEDED = 3, 6

#: The projector's own classification after the first stage, without the language model.
ALIGNED = "aligned_projector"
Control = Literal["intact", "image_blank", "image_swapped", "numbers_shuffled", "numbers_removed"]
#: The unchanged test set, with which the other controls are compared.
INTACT: Control = "intact"
IMAGE_CONTROLS: tuple[Control, ...] = ("image_blank", "image_swapped")
NUMBER_CONTROLS: tuple[Control, ...] = ("numbers_shuffled", "numbers_removed")
#: Finding where a control changes neither accuracy nor predictions.
UNUSED: dict[Control, str] = {
    "image_swapped": "image not used",
    "numbers_shuffled": "order of numbers not used",
    "numbers_removed": "numbers not used",
}
#: An input counts as unused if accuracies do not differ at `ALPHA` and at most this share of predictions changes.
FEW_CHANGES = 0.05
