"""The initial weights of convolutional networks."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


@torch.no_grad()
def he_init(network: nn.Module, negative_slope: float = 0.0) -> None:
    """Draw every convolution's weights so that the variance of its input survives the activation; biases become zero.

    Weights are normal with variance 2 / ((1 + slope^2) * taps). Taps counts the weights that meet in one output voxel;
    for a transposed convolution that is the kernel divided by the stride, not the whole kernel, and its input channels,
    not its output channels. `torch.nn.init.kaiming_normal_` takes it otherwise and so halves the variance at each
    upsampling by two in 3-D. Chance comes from torch's own generator, as for every torch layer: call
    `torch.manual_seed` before.

    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", ICCV 2015, doi:10.1109/ICCV.2015.123.

    Args:
        network: changed in place.
        negative_slope: of the activation: 0 for ReLU and its smooth kin, 0.01 for the usual leaky ReLU.
    """
    for layer in network.modules():
        if isinstance(layer, _ConvNd):
            taps = layer.in_channels / layer.groups * math.prod(layer.kernel_size)
            if isinstance(layer, _ConvTransposeNd):
                taps /= math.prod(layer.stride)
            layer.weight.normal_(0.0, math.sqrt(2.0 / ((1.0 + negative_slope**2) * taps)))
            if layer.bias is not None:
                layer.bias.zero_()


def negative_slope(act: nn.Module) -> float:
    """The slope below zero that an activation starts with; 0 for all that are not rectifiers with a slope."""
    if isinstance(act, nn.LeakyReLU):
        return float(act.negative_slope)
    if isinstance(act, nn.PReLU):
        return float(act.weight.detach().mean())
    return 0.0
