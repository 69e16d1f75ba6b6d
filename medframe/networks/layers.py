"""Layers by name and number of axes: convolutions, normalisations and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import nn

from medframe.base.errors import BadArgument
from medframe.networks.instance_norm import InstanceNorm
from medframe.networks.sizes import PerAxis, check_spatial_dims, per_axis

Spec: TypeAlias = str | tuple[str, Mapping[str, bool | int | float]]
"""A layer by name, or by name and options: "instance", ("group", {"num_groups": 4})."""

_CONVS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH_NORMS: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

_ACTS: dict[str, tuple[type[nn.Module], Mapping[str, bool | int | float]]] = {
    "elu": (nn.ELU, {}),
    "gelu": (nn.GELU, {}),
    "leaky_relu": (nn.LeakyReLU, {"negative_slope": 0.01, "inplace": True}),  # what stands before does not need it back
    "mish": (nn.Mish, {}),
    "prelu": (nn.PReLU, {}),
    "relu": (nn.ReLU, {"inplace": True}),
    "sigmoid": (nn.Sigmoid, {}),
    "silu": (nn.SiLU, {}),
    "tanh": (nn.Tanh, {}),
}
_NORMS = ("batch", "group", "instance")


def conv_layer(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: PerAxis = 3,
    stride: PerAxis = 1,
    *,
    dilation: PerAxis = 1,
    groups: int = 1,
    bias: bool = True,
) -> nn.Module:
    """A convolution padded with zeros so that size n becomes ceil(n / stride).

    Raises:
        BadArgument: spatial_dims, a kernel with no centre (even sizes), or groups that do not divide the channels.
    """
    check_spatial_dims(spatial_dims)
    kernel = per_axis("kernel_size", kernel_size, spatial_dims, odd=True)
    step = per_axis("stride", stride, spatial_dims)
    apart = per_axis("dilation", dilation, spatial_dims)
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise BadArgument(
            "groups do not divide the channels evenly",
            found=f"{in_channels} and {out_channels} channels, {groups} groups",
            due="a number that divides both",
        )
    padding = tuple(k // 2 * d for k, d in zip(kernel, apart, strict=True))
    return _CONVS[spatial_dims](in_channels, out_channels, kernel, step, padding, apart, groups, bias=bias)


def transposed_conv_layer(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: PerAxis = 3,
    stride: PerAxis = 2,
    *,
    bias: bool = True,
) -> nn.Module:
    """A transposed convolution whose padding is such that size n becomes exactly n * stride.

    Raises:
        BadArgument: spatial_dims, or a kernel smaller than its stride, which would leave voxels without a tap.
    """
    check_spatial_dims(spatial_dims)
    kernel = per_axis("kernel_size", kernel_size, spatial_dims)
    step = per_axis("stride", stride, spatial_dims)
    if any(k < s for k, s in zip(kernel, step, strict=True)):
        raise BadArgument("an upsampling kernel is smaller than its stride", found=kernel, due=f"at least {step}")
    # (n - 1) * s - 2 * padding + k + extra == n * s, with extra 0 or 1
    padding = tuple((k - s + 1) // 2 for k, s in zip(kernel, step, strict=True))
    extra = tuple((k - s) % 2 for k, s in zip(kernel, step, strict=True))
    return _TRANSPOSED[spatial_dims](in_channels, out_channels, kernel, step, padding, extra, bias=bias)


def norm_layer(norm: Spec, spatial_dims: int, channels: int) -> nn.Module:
    """A normalisation for (B, channels, *spatial) by name: "batch", "group" (8 groups) or "instance" (affine).

    Raises:
        BadArgument: an unknown name, an unknown option, or groups that do not divide the channels.
    """
    check_spatial_dims(spatial_dims)
    name, options = _read(norm)
    if name == "instance":
        return _make("norm", norm, InstanceNorm, channels, options)
    if name == "batch":
        return _make("norm", norm, _BATCH_NORMS[spatial_dims], channels, options)
    if name == "group":
        groups = options.pop("num_groups", 8)
        if not isinstance(groups, int) or groups < 1 or channels % groups:
            raise BadArgument(
                "group normalisation cannot split the channels evenly",
                found=f"{channels} channels, {groups} groups",
                due="a number of groups that divides the number of channels",
                mend='Give it: norm=("group", {"num_groups": 4}).',
            )
        return _make("norm", norm, lambda c, **kw: nn.GroupNorm(groups, c, **kw), channels, options)
    raise BadArgument("norm is not known", found=repr(name), due=", ".join(_NORMS))


def act_layer(act: Spec) -> nn.Module:
    """An activation by name, such as "leaky_relu" (slope 0.01), "prelu", "relu", "gelu" or "silu".

    Raises:
        BadArgument: an unknown name or option.
    """
    name, options = _read(act)
    if name not in _ACTS:
        raise BadArgument("act is not known", found=repr(name), due=", ".join(sorted(_ACTS)))
    make, defaults = _ACTS[name]
    return _make("act", act, make, None, {**defaults, **options})


def _read(spec: Spec) -> tuple[str, dict[str, bool | int | float]]:
    if isinstance(spec, str):
        return spec, {}
    name, options = spec
    return name, dict(options)


def _make(
    what: str,
    spec: Spec,
    make: Callable[..., nn.Module],
    channels: int | None,
    options: Mapping[str, bool | int | float],
) -> nn.Module:
    try:
        return make(**options) if channels is None else make(channels, **options)
    except TypeError as error:
        raise BadArgument(f"{what} has an option its layer does not take", found=repr(spec), due=str(error)) from None
