"""U-Nets of the contract of tests/networks/test_networks_contract.py."""

from network_row import PRELU, Row, conv, dims, norm

from medframe.networks import DynUNet, UNet

ROWS = [
    Row(
        "unet-1d",
        UNet,
        dims(1, 2, 3, channels=(4, 8), strides=(4,), kernel_size=5, up_kernel_size=5, norm=None, act="silu"),
        size=(32,),
        multiple=(4,),
        parameters=conv(2, 4, 5) + conv(4, 8, 5) + conv(4 + 8, 3, 5),
    ),
    Row(
        "unet-2d",
        UNet,
        dims(2, 1, 2, channels=(4, 8, 16), strides=(2, 2)),
        size=(8, 16),
        multiple=(4, 4),
        parameters=(conv(1, 4, 9) + norm(4) + PRELU)
        + (conv(4, 8, 9) + norm(8) + PRELU)
        + (conv(8, 16, 9) + norm(16) + PRELU)
        + (conv(8 + 16, 4, 9) + norm(4) + PRELU)
        + conv(4 + 4, 2, 9),
    ),
    Row(
        "unet-3d-residual",
        UNet,
        dims(3, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=2, norm="batch"),
        size=(8, 4, 8),
        multiple=(4, 4, 4),
        parameters=(2 * conv(1, 4, 27) + conv(4, 4, 27) + 2 * (norm(4) + PRELU))  # twice: the short cut strides too
        + (2 * conv(4, 8, 27) + conv(8, 8, 27) + 2 * (norm(8) + PRELU))
        + (conv(8, 16, 27) + conv(8, 16, 1) + conv(16, 16, 27) + 2 * (norm(16) + PRELU))
        + (conv(8 + 16, 4, 27) + conv(4, 4, 27) + 2 * (norm(4) + PRELU))
        + (conv(4 + 4, 2, 27) + norm(2) + PRELU + conv(2, 2, 27)),
    ),
    Row(
        "unet-3d-anisotropic",
        UNet,
        dims(3, 1, 4, channels=(4, 8, 8), strides=((1, 2, 2), 2), num_res_units=1, act="relu", dropout=0.1, bias=False)
        | {"norm": ("group", {"num_groups": 2})},
        size=(4, 8, 8),
        multiple=(2, 4, 4),
        parameters=(2 * conv(1, 4, 27, 0) + norm(4))
        + (2 * conv(4, 8, 27, 0) + norm(8))
        + (conv(8, 8, 27, 0) + norm(8))  # nothing in the short cut
        + (conv(8 + 8, 4, 27, 0) + norm(4) + conv(4, 4, 27, 0) + norm(4))
        + (conv(4 + 4, 4, 27, 0) + norm(4) + conv(4, 4, 27, 0)),
    ),
    Row(
        "dynunet-1d",
        DynUNet,
        dims(1, 1, 2, kernel_size=[3, 3], strides=[1, 3], channels=(4, 8), norm="batch", act="gelu", convs_per_stage=1),
        size=(12,),
        multiple=(3,),
        parameters=(conv(1, 4, 3, 0) + norm(4))
        + (conv(4, 8, 3, 0) + norm(8))
        + (conv(8, 4, 3, 0) + conv(8, 4, 3, 0) + norm(4))
        + conv(4, 2, 1),
    ),
    Row(
        "dynunet-2d",
        DynUNet,
        dims(2, 3, 2, kernel_size=[5, 3], strides=[1, 2], bias=True),
        size=(8, 4),
        multiple=(2, 2),
        parameters=(conv(3, 32, 25) + conv(32, 32, 25) + 2 * norm(32))
        + (conv(32, 64, 9) + conv(64, 64, 9) + 2 * norm(64))
        + conv(64, 32, 4)
        + (conv(64, 32, 25) + conv(32, 32, 25) + 2 * norm(32))
        + conv(32, 2, 1),
    ),
    Row(
        "dynunet-3d-deep",
        DynUNet,
        dims(3, 1, 3, kernel_size=[(1, 3, 3), 3, 3], strides=[1, (1, 2, 2), 2], channels=(4, 8, 12))
        | {"deep_supervision": True},
        size=(4, 8, 8),
        multiple=(2, 4, 4),
        parameters=(conv(1, 4, 9, 0) + conv(4, 4, 9, 0) + 2 * norm(4))
        + (conv(4, 8, 27, 0) + conv(8, 8, 27, 0) + 2 * norm(8))
        + (conv(8, 12, 27, 0) + conv(12, 12, 27, 0) + 2 * norm(12))
        + conv(12, 8, 8, 0)
        + (conv(16, 8, 27, 0) + conv(8, 8, 27, 0) + 2 * norm(8))
        + conv(8, 4, 4, 0)
        + (conv(8, 4, 9, 0) + conv(4, 4, 9, 0) + 2 * norm(4))
        + conv(4, 3, 1)
        + conv(8, 3, 1),
        coarser=((4, 4, 4),),
    ),
]
