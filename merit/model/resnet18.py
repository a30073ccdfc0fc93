"""MERL's backbone: a ResNet18 in one dimension (He et al., 2016; Liu et al., 2024).

A convolution 7 wide with stride 2 over all leads, no max-pooling, four stages of two basic blocks, each stage twice as
wide as the one before, BatchNorm after every convolution. With 64 channels first it has MERL's 3.85 million weights.

Where patches are hidden, their samples are replaced by a learned value before the stem, as in SimMIM. These enter the
statistics of a batch, so that those that are kept are taken anew from whole recordings when training ends
(`pretrain.train.whole_statistics`). With several processes on GPUs the statistics are those of the whole batch
(SyncBatchNorm, `pretrain.train.compile_model`); on CPUs each process has its own.

Shapes: B batch, L leads, T samples, n tokens, C channels, D channels of the last stage.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.config import EncoderConfig
from merit.model.vit import EcgEncoder

STAGES = 4
BLOCKS = 2
"""Basic blocks of a stage."""


class ResNet18(EcgEncoder):
    """Scaled signal in, one token per 16 samples out; MERL probes their mean. `masks`: patches may be hidden."""

    def __init__(self, config: EncoderConfig, *, masks: bool = False) -> None:
        super().__init__(config)
        self.mask_value = nn.Parameter(torch.zeros(config.n_leads)) if masks else None
        widths = [config.resnet_width * 2**stage for stage in range(STAGES)]
        self.stem = convolution(config.n_leads, widths[0], size=7, stride=2)
        inputs = [widths[0], *widths[:-1]]
        self.blocks = nn.Sequential(
            *(
                BasicBlock(inputs[stage] if block == 0 else width, width, stride=2 if block == 0 < stage else 1)
                for stage, width in enumerate(widths)
                for block in range(BLOCKS)
            )
        )

    def forward(self, signal: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens [B, n, D] in the order of time; a ValueError where patches are hidden of a network made without."""
        if visible is not None and self.mask_value is None:
            raise ValueError("visible: expected None, whole recordings, for a resnet18 without masks; got patches")
        return self.blocks(F.relu(self.stem(self.filled(signal, visible)))).transpose(1, 2)


class BasicBlock(nn.Module):
    """Two convolutions 3 wide beside a shortcut, which is a convolution 1 wide where shapes change."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, size=3, stride=stride)
        self.second = convolution(outputs, outputs, size=3)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, outputs, ceil(n / stride)] from [B, inputs, n]."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def convolution(inputs: int, outputs: int, *, size: int, stride: int = 1) -> nn.Sequential:
    """A convolution with zeros beyond both ends, then BatchNorm: [B, inputs, n] to [B, outputs, ceil(n / stride)]."""
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm1d(outputs)
    )
