"""The controls at test time, by name, and when an input counts as unused. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

Control = Literal["intact", "image_blank", "image_swapped", "numbers_shuffled", "numbers_removed"]
#: The test part as it is, which the others are compared with.
INTACT: Control = "intact"
IMAGE_CONTROLS: tuple[Control, ...] = ("image_blank", "image_swapped")
NUMBER_CONTROLS: tuple[Control, ...] = ("numbers_shuffled", "numbers_removed")
#: What a control finds that changes neither accuracy nor predictions.
UNUSED: dict[Control, str] = {
    "image_swapped": "image not used",
    "numbers_shuffled": "order of numbers not used",
    "numbers_removed": "numbers not used",
}
#: An input counts as unused if the accuracy does not differ at this level, and no more predictions change.
LEVEL = 0.05
FEW_CHANGES = 0.05
