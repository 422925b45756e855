"""Ways to make the weights of a network without training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from registry_auditor.testbed.ways import Grounds, Net

Matrix = Float[Tensor, "rows columns"]


@dataclass(frozen=True)
class Merged:
    """The mean of the parents."""

    def make(self, grounds: Grounds) -> Net:
        """As `linear` of mergekit makes it."""
        merged, states = grounds.parents[0], [parent.state_dict() for parent in grounds.parents]
        merged.load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
        return merged


@dataclass(frozen=True)
class Noisy:
    """Gaussian noise on every matrix of the layers."""

    relative: float
    """Its norm, of the norm of the matrix."""

    def make(self, grounds: Grounds) -> Net:
        """The parent, shaken."""
        generator = torch.Generator().manual_seed(grounds.family.seed)

        def shake(matrix: Matrix) -> Matrix:
            drawn = torch.randn(matrix.shape, generator=generator)
            scale = float(self.relative * matrix.norm() / math.sqrt(matrix.numel()))
            return matrix + scale * drawn

        return changed(grounds.parents[0], shake)


@dataclass(frozen=True)
class Requantised:
    """Stored as integers in between, each block of a row with its own scale."""

    bits: int
    block: int = 32

    def make(self, grounds: Grounds) -> Net:
        """The parent, there and back."""
        return changed(grounds.parents[0], self._through)

    def _through(self, matrix: Matrix) -> Matrix:
        blocks = matrix.reshape(len(matrix), -1, self.block)
        scale = blocks.abs().amax(-1, keepdim=True).clamp_min(1e-12) / (2 ** (self.bits - 1) - 1)
        rounded: Tensor = (blocks / scale).round() * scale
        return rounded.reshape(matrix.shape)


def changed(net: PreTrainedModel, change: Callable[[Matrix], Matrix]) -> PreTrainedModel:
    """`net`, in place, with every matrix of its layers replaced by `change` of it."""
    outside = {net.get_input_embeddings().weight.data_ptr(), net.get_output_embeddings().weight.data_ptr()}
    for name, tensor in net.state_dict().items():
        if tensor.ndim == 2 and tensor.data_ptr() not in outside and "wpe" not in name:
            tensor.copy_(change(tensor))
    return net
