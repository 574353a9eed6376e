"""EfficientNet-Lite as a vision tower of transformers; importing this module registers ``efficientnet_lite``.

M. Tan and Q. Le, EfficientNet: Rethinking model scaling for convolutional neural networks, ICML 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torch.nn.functional import pixel_unshuffle
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

#: Channels of EfficientNet-Lite0's last feature map at each stride; at 32 that of its head.
CHANNELS = {8: 40, 16: 112, 32: 1280}


def token_width(strides: Sequence[int], patch_size: int = 32) -> int:
    """Return the number of features of an image token made of the feature maps at `strides`."""
    return sum(CHANNELS[stride] * (patch_size // stride) ** 2 for stride in strides)


class EfficientNetLiteConfig(PreTrainedConfig):
    """Configuration of an EfficientNet-Lite vision tower.

    An image token is made of the feature maps at `strides`, in pixels: 8, 16 or 32. With `column_codes`, it ends with a
    one-hot code of its column in the image. `hidden_size` is `token_width`, plus the number of columns.
    """

    model_type = "efficientnet_lite"

    variant: str = "efficientnet-lite0"
    hidden_size: int = 1280
    image_size: int = 224
    patch_size: int = 32
    num_channels: int = 3
    strides: tuple[int, ...] | list[int] = (32,)
    column_codes: bool = False

    @property
    def columns(self) -> int:
        """Number of columns, and of rows, of image tokens."""
        return self.image_size // self.patch_size


class EfficientNetLiteModel(PreTrainedModel):
    """EfficientNet-Lite without its classifier; an image token is a cell of its last feature map.

    Cells of finer maps inside it are concatenated (space to depth), which shows details of a line without more tokens.
    The tower is frozen: batch normalisation always uses the stored statistics.
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
        """Keep the weights from the network's constructor; a checkpoint overwrites them."""

    def train(self, mode: bool = True) -> EfficientNetLiteModel:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, pixel_values: torch.Tensor, **_: object) -> BaseModelOutput:
        """Return the image tokens, row by row: shape (batch, columns ** 2, hidden_size).

        They are `last_hidden_state` and the only entry of `hidden_states`.
        """
        maps = self._feature_maps(pixel_values)
        cells = [pixel_unshuffle(maps[s], self.config.patch_size // s) for s in self.config.strides]
        tokens = torch.cat(cells, dim=1).flatten(2).transpose(1, 2)
        if self.config.column_codes:
            codes = torch.eye(self.config.columns, dtype=tokens.dtype, device=tokens.device)
            tokens = torch.cat([tokens, codes.repeat(len(codes), 1).expand(len(tokens), -1, -1)], dim=-1)
        return BaseModelOutput(last_hidden_state=tokens, hidden_states=(tokens,))

    def _feature_maps(self, pixel_values: torch.Tensor) -> dict[int, torch.Tensor]:
        """Return the last feature map at each stride; at the last stride the head's."""
        network = self.network
        maps = {}
        features = network._swish(network._bn0(network._conv_stem(pixel_values)))
        for block in network._blocks:  # without stochastic depth, as in evaluation mode
            features = block(features)
            maps[pixel_values.shape[-1] // features.shape[-1]] = features
        maps[self.config.patch_size] = network._swish(network._bn1(network._conv_head(features)))
        return maps


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel)
