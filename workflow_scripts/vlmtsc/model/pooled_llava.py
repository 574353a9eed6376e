"""The embedded model's classes: EfficientNet-Lite as a vision tower, and LLaVA with a pooled image token.

Importing this module registers ``efficientnet_lite`` and ``pooled_llava`` with transformers.

M. Tan and Q. Le, EfficientNet: Rethinking model scaling for convolutional neural networks, ICML 2019. S. Zhang et al.,
LLaVA-Mini: Efficient image and video large multimodal models with one vision token, ICLR 2025.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torch.nn.functional import normalize, pixel_unshuffle
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

#: Channels of EfficientNet-Lite0's last feature map at each stride; at 32 that of its head.
CHANNELS = {8: 40, 16: 112, 32: 1280}
#: Length of the image's part of a pooled token, relative to the constant part, where all its tokens agree.
IMAGE_PART = 3.0


def token_width(strides: Sequence[int], patch_size: int = 32) -> int:
    """Return the number of features of a token made of the feature maps at `strides`."""
    return sum(CHANNELS[stride] * (patch_size // stride) ** 2 for stride in strides)


class EfficientNetLiteConfig(PreTrainedConfig):
    """Configuration of an EfficientNet-Lite vision tower.

    A token is made of the feature maps at `strides`, in pixels: 8, 16 or 32. With `column_codes`, it ends with a
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
        """Number of columns, and of rows, of tokens."""
        return self.image_size // self.patch_size


class EfficientNetLiteModel(PreTrainedModel):
    """EfficientNet-Lite without its classifier; a token is a cell of its last feature map.

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
        """Return the tokens, row by row: shape (batch, columns ** 2, hidden_size).

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


class PoolingProjector(LlavaMultiModalProjector):
    """LLaVA's projector, followed by pooling: an image becomes one token, repeated.

    The tokens are projected, brought to length 1 and averaged; the mean is short where they disagree. The layers of the
    language model bring each token to one length, so a constant vector is added, beside which the mean keeps its own.
    Attention is spread over all tokens at first; repeated, the image has more of it, and is learnt in fewer steps.
    """

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__(config)
        self.repetitions = config.image_seq_length
        self.constant = nn.Parameter(torch.zeros(config.text_config.hidden_size))

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Return the mean of the projected tokens, float32: (batch, tokens, width) to (batch, 1, hidden_size)."""
        return normalize(super().forward(features).float(), dim=-1).mean(1, keepdim=True)

    def embed(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return results of `pool` as tokens of the language model: (batch, repetitions, hidden_size)."""
        token = IMAGE_PART * self.constant.norm() * pooled + self.constant
        return token.expand(-1, self.repetitions, -1)

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        """Return an image's tokens: (batch, tokens, width) to (batch, repetitions, hidden_size)."""
        return self.embed(self.pool(image_features))


class PooledLlavaConfig(LlavaConfig):
    """Configuration of a LLaVA with a `PoolingProjector`, which repeats a token `image_seq_length` times."""

    model_type = "pooled_llava"


class PooledLlava(LlavaForConditionalGeneration):
    """LLaVA with a `PoolingProjector`."""

    config_class = PooledLlavaConfig
    config: PooledLlavaConfig

    def __init__(self, config: PooledLlavaConfig) -> None:
        super().__init__(config)
        self.model.multi_modal_projector = PoolingProjector(config)
        self.post_init()


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel)
AutoConfig.register(PooledLlavaConfig.model_type, PooledLlavaConfig)
AutoModelForImageTextToText.register(PooledLlavaConfig, PooledLlava)
