"""Names in published weights and in our networks: key maps for `load_weights`.

Each map belongs to the architecture of the same name in MONAI 1.6 (`RES_ENC_UNET` and `PLAIN_UNET`: in nnU-Net v2).
Names beginning in our own way are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_Pairs = list[tuple[str, str | None]]

_NORM_ACT: _Pairs = [(r"\.adn\.N\.", ".norm."), (r"\.adn\.A\.", ".act.")]
_UPSAMPLE: _Pairs = [(r"\.(deconv|preconv|pixelshuffle\.conv_block)\.(weight|bias)$", r".conv.\2")]

BASIC_UNET: _Pairs = [
    *_NORM_ACT,
    *_UPSAMPLE,
    (r"^conv_0\.conv_", "encoder.0."),
    (r"^down_(\d)\.convs\.conv_", r"encoder.\1."),
    *[(rf"^upcat_{i}\.upsample\.", f"up.{i - 1}.") for i in range(1, 5)],
    *[(rf"^upcat_{i}\.convs\.conv_", f"decoder.{i - 1}.") for i in range(1, 5)],
    (r"^final_conv\.", "head."),
]

UNET_PLUS_PLUS: _Pairs = [
    *_NORM_ACT,
    *_UPSAMPLE,
    (r"^conv_0_0\.conv_", "encoder.0."),
    (r"^conv_(\d)_0\.convs\.conv_", r"encoder.\1."),
    (r"^upcat_(\d_\d)\.upsample\.", r"up.\1."),
    (r"^upcat_(\d_\d)\.convs\.conv_", r"nodes.\1."),
    *[(rf"^final_conv_0_{4 - i}\.", f"heads.{i}.") for i in range(4)],
]
"""For `deep_supervision=True`; without, use `without_deep_supervision(UNET_PLUS_PLUS)`."""

SEGRESNET: _Pairs = [
    (r"\.conv\.(weight|bias)$", r".\1"),
    (r"^convInit\.", "stem."),
    (r"^down_layers\.", "encoder."),
    (r"^up_samples\.(\d+)\.0\.", r"up.\1.0."),
    (r"^up_samples\.(\d+)\.1\.(deconv|pixelshuffle\.conv_block)\.", r"up.\1.1.conv."),
    (r"^up_layers\.", "decoder."),
    (r"^conv_final\.", "head."),
]

SEGRESNET_VAE: _Pairs = [
    *SEGRESNET,
    (r"^vae_fc1\.", "vae_mean."),
    (r"^vae_fc2\.", "vae_std."),
    (r"^vae_fc3\.", "vae_rise."),
    (r"^vae_fc_up_sample\.1\.(deconv|pixelshuffle\.conv_block)\.", "vae_up.1.conv."),
    (r"^vae_fc_up_sample\.", "vae_up."),
    (r"^vae_conv_final\.", "vae_head."),
]
"""For `vae_estimate_std=True`; without, the source's "vae_fc2" has no place: put `("^vae_fc2", None)` before."""

VNET: _Pairs = [
    (r"\.adn\.N\.", ".norm."),
    (r"^in_tr\.conv_block\.", "stem."),
    *[(rf"^down_tr{32 << i}\.down_conv\.", f"down.{i}.0.") for i in range(4)],
    *[(rf"^down_tr{32 << i}\.bn1\.", f"down.{i}.1.") for i in range(4)],
    *[(rf"^down_tr{32 << i}\.ops\.(\d)\.conv_block\.", rf"encoder.{i}.convs.\1.") for i in range(4)],
    *[(rf"^up_tr{32 << i}\.up_conv\.", f"up.{i}.conv.") for i in range(4)],
    *[(rf"^up_tr{32 << i}\.bn1\.", f"up.{i}.norm.") for i in range(4)],
    *[(rf"^up_tr{32 << i}\.ops\.(\d)\.conv_block\.", rf"decoder.{i}.convs.\1.") for i in range(4)],
    (r"^out_tr\.conv_block\.", "head.0."),
    (r"^out_tr\.conv2\.", "head.1."),
]

REG_UNET: _Pairs = [
    (r"^encode_pools\.(\d+)\.layer\.conv\.", r"encoder.down.\1.0."),
    (r"^encode_pools\.(\d+)\.layer\.adn\.N\.", r"encoder.down.\1.1."),
    (r"^output_block\.layers\.(\d+)\.conv\.", r"output.heads.\1."),
    (r"^output_block\.fc\.", "fc."),
    *_NORM_ACT,
    *[(rf"\.layers\.{i}\.conv\.", f".conv{i + 1}.conv.") for i in range(2)],
    *[(rf"\.norms\.{i}\.", f".conv{i + 1}.norm.") for i in range(2)],
    (r"^encode_convs\.", "encoder.stages."),
    (r"^bottom_block\.", "encoder.bottom."),
    (r"^decode_deconvs\.(\d+)\.(deconv\.)?", r"decoder.up.\1."),
    (r"^decode_convs\.", "decoder.stages."),
]
"""For `RegUNet`, `LocalNet` and `GlobalNet`."""


def voxelmorph(name: str) -> str | None:
    """For `VoxelMorphUNet`, and for `VoxelMorph` around one."""
    outer, inner = ("backbone.", name[9:]) if name.startswith("backbone.") else ("", name)
    for pattern, replacement in [*_NORM_ACT, (r"^net\.1\.final_conv_(\d+)\.", r"final.\1.")]:
        inner = re.sub(pattern, replacement or "", inner)
    inner = inner.replace("net.1.final_conv_out.conv.", "flow.")
    level, rest = _level(inner.removeprefix("net.0."), r"^1\.submodule\.")
    part = re.match(r"^(0|2)\.(?:\d\.)?((?:conv|norm|act)\..*)", rest)
    if not part:
        return outer + inner
    return f"{outer}{'encoder' if part[1] == '0' else 'decoder'}.{level}.{part[2]}"


def segresnet_ds(name: str) -> str | None:
    """For `SegResNetDS` whose `dsdepth` is that of the source; the heads are counted by `segresnet_ds_heads`."""
    pairs: _Pairs = [
        (r"^encoder\.conv_init\.", "stem."),
        (r"^encoder\.layers\.(\d+)\.downsample\.", r"down.\1."),
        (r"^encoder\.layers\.(\d+)\.blocks\.", r"encoder.\1."),
        (r"^up_layers\.(\d+)\.upsample\.(deconv|preconv|pixelshuffle\.conv_block)\.", r"up.\1.conv."),
        (r"^up_layers\.(\d+)\.blocks\.", r"decoder.\1."),
    ]
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement or "", name)
    return name


def segresnet_ds_for(stages: int) -> Callable[[str], str | None]:
    """For `SegResNetDS` of so many stages, which is the length of its `blocks_down`."""

    def rename(name: str) -> str | None:
        head = re.match(r"^up_layers\.(\d+)\.head\.(.*)", name)
        return f"heads.{stages - 2 - int(head[1])}.{head[2]}" if head else segresnet_ds(name)

    return rename


def highresnet_for(blocks: int = 9) -> Callable[[str], str | None]:
    """For `HighResNet` of so many residual blocks in all; build it with act_last=True for the source's answers."""

    def rename(name: str) -> str | None:
        part = re.match(r"^blocks\.(\d+)\.(.*)", name)
        if not part or ".pad" in name:
            return name
        index, rest = int(part[1]), part[2].replace("adn.N.", "norm.")
        if index == 0:
            return f"stem.{rest}"
        if index > blocks:
            return f"{'wide' if index == blocks + 1 else 'head'}.{rest}"
        rest = rest.replace("chn_pad.project.", "project.")
        layer = re.match(r"^layers\.(\d+)\.(N|conv)\.(.*)", rest)
        if layer:  # the source counts normalisation and activation as one
            rest = f"layers.{int(layer[1]) // 2 * 3 + (0 if layer[2] == 'N' else 2)}.{layer[3]}"
        return f"blocks.{index - 1}.{rest}"

    return rename


def mednext_for(stages: int = 4) -> Callable[[str], str | None]:
    """For `MedNeXt` of so many encoder stages."""
    layers = {
        "conv1": "depthwise",
        "conv2": "widen",
        "conv3": "narrow",
        "res_conv": "shortcut",
        "global_resp_beta": "response.beta",
        "global_resp_gamma": "response.gamma",
    }

    def rename(name: str) -> str | None:
        if name == "dummy_tensor":
            return None
        name = ".".join(layers.get(part, part) for part in name.split("."))
        for pattern, replacement in (
            (r"^enc_stages\.", "encoder."),
            (r"^dec_stages\.", "decoder."),
            (r"^down_blocks\.", "down."),
            (r"^up_blocks\.", "up."),
            (r"^out_0\.conv_out\.", "heads.0."),
        ):
            name = re.sub(pattern, replacement, name)
        head = re.match(r"^out_blocks\.(\d+)\.conv_out\.(.*)", name)
        return f"heads.{stages - int(head[1])}.{head[2]}" if head else name

    return rename


def attention_unet(name: str) -> str | None:
    """For `AttentionUNet`."""
    level, rest = _level(name, r"^1\.submodule\.")
    rest = rest.replace("adn.N.", "norm.").replace("adn.A.", "act.")
    if level == 0 and rest.startswith("2."):
        return f"head.{rest.removeprefix('2.conv.')}"
    own = re.match(r"^(?:0\.)?conv\.(\d)\.(.*)", rest)
    if own:
        return f"encoder.{level}.{own[1]}.{own[2]}"
    for pattern, part in (
        (r"^1\.upconv\.up\.", "up.{}."),
        (r"^1\.merge\.", "merge.{}."),
        (r"^1\.attention\.(W_g|W_x|psi)\.0\.conv\.", "gates.{}.{}.conv."),
        (r"^1\.attention\.(W_g|W_x|psi)\.1\.", "gates.{}.{}.norm."),
    ):
        found = re.match(pattern, rest)
        if found:
            inner = {"W_g": "gate", "W_x": "skip", "psi": "psi"}
            return part.format(level, *(inner[g] for g in found.groups())) + rest[found.end() :]
    return name


def unet(name: str) -> str | None:
    """For `UNet`; the source's instance normalisation has no weights: norm=("instance", {"affine": False})."""
    level, rest = _level(name, r"^1\.submodule\.")
    rest = rest.replace("adn.N.", "norm.").replace("adn.A.", "act.")
    rest = re.sub(r"\bconv\.unit(\d)\.", r"body.\1.", rest).replace("residual.", "shortcut.")
    if rest.startswith("0."):
        return f"down.{level}.{rest[2:]}"
    if rest.startswith("2."):
        return f"up.{level}.{rest[2:]}"
    return f"bottom.{rest}"


DYNUNET: _Pairs = [
    (r"^skip_layers\.", None),  # the same tensors once more
    (r"\.conv1\.conv\.", ".0.conv."),
    (r"\.conv2\.conv\.", ".1.conv."),
    (r"\.norm1\.", ".0.norm."),
    (r"\.norm2\.", ".1.norm."),
    (r"^input_block\.", "encoder.0."),
]


def dynunet_for(stages: int) -> Callable[[str], str | None]:
    """For `DynUNet` of so many stages, whose `deep_supervision` goes through all of the source's heads."""

    def rename(name: str) -> str | None:
        for pattern, replacement in DYNUNET:
            if replacement is None:
                if re.match(pattern, name):
                    return None
            else:
                name = re.sub(pattern, replacement, name)
        name = name.replace("bottleneck.", f"encoder.{stages - 1}.")
        name = name.replace("output_block.conv.conv.", "heads.0.")
        name = re.sub(r"^downsamples\.(\d+)\.", lambda m: f"encoder.{int(m[1]) + 1}.", name)
        name = re.sub(r"^upsamples\.(\d+)\.transp_conv\.conv\.", lambda m: f"up.{stages - 2 - int(m[1])}.", name)
        name = re.sub(r"^upsamples\.(\d+)\.conv_block\.", lambda m: f"decoder.{stages - 2 - int(m[1])}.", name)
        return re.sub(r"^deep_supervision_heads\.(\d+)\.conv\.conv\.", lambda m: f"heads.{int(m[1]) + 1}.", name)

    return rename


def res_enc_unet_for(stages: int, *, deep_supervision: bool = True) -> Callable[[str], str | None]:
    """For `ResEncUNet` of so many stages; nnU-Net's files hold the coarse heads also where they were not used."""
    return _nnunet(stages, "blocks.", deep_supervision)


def plain_unet_for(stages: int, *, deep_supervision: bool = True) -> Callable[[str], str | None]:
    """For `DynUNet` of so many stages from nnU-Net's plain U-Net; see `res_enc_unet_for`."""
    return _nnunet(stages, "", deep_supervision)


def without_deep_supervision(pairs: _Pairs) -> _Pairs:
    """The same map for a network that has only the head of the finest logits."""
    return [*pairs, (r"^heads\.[1-9]", None)]


def _level(name: str, step: str) -> tuple[int, str]:
    rest, level = name.removeprefix("model."), 0
    while re.match(step, rest):
        rest, level = re.sub(step, "", rest, count=1), level + 1
    return level, rest


def _nnunet(stages: int, blocks: str, deep_supervision: bool) -> Callable[[str], str | None]:
    def rename(name: str) -> str | None:
        if "all_modules" in name or name.startswith("decoder.encoder."):
            return None  # the same tensors once more
        name = name.replace("encoder.stem.convs.0.", "stem.")
        name = name.replace(".skip.", ".shortcut.")
        if blocks:
            name = re.sub(r"^encoder\.stages\.(\d+)\.blocks\.", r"encoder.\1.", name)
        else:
            name = re.sub(r"^encoder\.stages\.(\d+)\.0\.convs\.", r"encoder.\1.", name)
        finer = stages - 2
        name = re.sub(r"^decoder\.stages\.(\d+)\.convs\.", lambda m: f"decoder.{finer - int(m[1])}.", name)
        name = re.sub(r"^decoder\.transpconvs\.(\d+)\.", lambda m: f"up.{finer - int(m[1])}.", name)
        head = re.match(r"^decoder\.seg_layers\.(\d+)\.(.*)", name)
        if head:
            place = finer - int(head[1])
            return f"heads.{place}.{head[2]}" if deep_supervision or place == 0 else None
        return name

    return rename
