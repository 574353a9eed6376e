"""EfficientNet-Lite as a vision tower that `transformers` can build, save and load.

LLaVA takes any vision model that ``AutoModel.from_config`` knows and that returns ``hidden_states``. Importing
this module registers EfficientNet-Lite under the model type ``efficientnet_lite``.

References
----------
.. [1] M. Tan and Q. Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML 2019.
"""

from __future__ import annotations

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class EfficientNetLiteConfig(PreTrainedConfig):
    """Configuration of an EfficientNet-Lite vision tower."""

    model_type = "efficientnet_lite"

    variant: str = "efficientnet-lite0"
    hidden_size: int = 1280
    image_size: int = 224
    patch_size: int = 32
    num_channels: int = 3


class EfficientNetLiteModel(PreTrainedModel):
    """EfficientNet-Lite without its classifier; the cells of its last feature map are the image tokens.

    The tower is used frozen: batch normalisation always uses the stored statistics.
    """

    config_class = EfficientNetLiteConfig
    base_model_prefix = "efficientnet_lite"
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.network = EfficientNet.from_name(config.variant)
        self.network._fc = nn.Identity()
        self.post_init()
        self.train(False)

    def _init_weights(self, module: nn.Module) -> None:
        """Keep what the network's own constructor drew; a checkpoint overwrites it."""

    def train(self, mode: bool = True) -> EfficientNetLiteModel:
        """Stay in evaluation mode, whatever `mode` the trainer asks for."""
        return super().train(False)

    def forward(self, pixel_values: torch.Tensor, **_: object) -> BaseModelOutput:
        """Return the cells of the last feature map, row by row.

        Parameters
        ----------
        pixel_values : torch.Tensor
            float, shape (batch, 3, image_size, image_size), normalised by the image processor.

        Returns
        -------
        BaseModelOutput
            `last_hidden_state` and the only entry of `hidden_states`: shape
            (batch, (image_size / patch_size) ** 2, hidden_size).
        """
        feature_map = self.network.extract_features(pixel_values)
        tokens = feature_map.flatten(2).transpose(1, 2)
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel)
