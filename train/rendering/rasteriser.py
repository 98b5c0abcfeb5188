"""A triangle rasteriser in plain torch: which triangle each pixel sees, then values across it with gradients.

    visible_triangles   a depth buffer over the bounding box of every triangle; no gradient
    interpolate         barycentric mix of vertex values; gradients reach values and positions

The image is a smooth function of the vertices inside a triangle and continuous across a shared edge if the values
are. Where one surface hides another it jumps, and that edge carries no gradient: meshes for training have no such
edges where it matters (`train.rendering.mesh`).

Shape suffixes: B images, V vertices, F triangles, H and W pixels, P = H W, C values; N triangles of all images or
pixels of all images, M candidates (triangle, pixel of its box).
"""

import torch
from torch import Tensor

_SLACK = 1e-5
"""How far outside a triangle a pixel still counts: rounding must not leave holes along shared edges."""


@torch.no_grad()
def visible_triangles(position_BV3: Tensor, triangles_F3: Tensor, size: int) -> Tensor:
    """The nearest triangle at the centre of each pixel.

    Args:
        position_BV3: float, x right and y down in pixels (the first pixel's centre is 0.5, 0.5), z away.
        triangles_F3: int64, of either winding.
        size: pixels a side.

    Returns:
        int64 (B, size, size); -1 where there is none. Of triangles at one depth the last wins; one with a corner
        that is not finite is not seen.
    """
    images, faces = len(position_BV3), len(triangles_F3)
    corner_3N3 = position_BV3[:, triangles_F3.T].transpose(0, 1).reshape(3, images * faces, 3)
    # A triangle with a corner that is not a number begins past the image's end, so that no pixel sees it.
    first_N2 = (corner_3N3[..., :2].amin(0) - 0.5).ceil().clamp(0, size).nan_to_num(size)
    last_N2 = (corner_3N3[..., :2].amax(0) - 0.5).floor().clamp(-1, size - 1).nan_to_num(-1)
    extent_N2 = (last_N2 - first_N2 + 1).clamp(min=0).int()
    count_N = extent_N2.prod(1)
    owner_M = torch.repeat_interleave(count_N)
    offset_M = torch.arange(len(owner_M), device=owner_M.device) - (count_N.cumsum(0) - count_N)[owner_M]
    row_M = torch.div(offset_M.int(), extent_N2[:, 0][owner_M], rounding_mode="floor")
    column_M = offset_M.int() - row_M * extent_N2[:, 0][owner_M]
    plane_N9 = torch.cat(_planes(first_N2 + 0.5, corner_3N3), 1)
    share_b_M, share_c_M, depth_M = (
        (at_M[:, 0] * column_M).addcmul_(at_M[:, 1], row_M.to(at_M)).add_(at_M[:, 2])
        for at_M in plane_N9[owner_M].chunk(3, dim=1)
    )
    inside_M = torch.minimum(torch.minimum(share_b_M, share_c_M), 1 - share_b_M - share_c_M) >= -_SLACK
    owner_M, depth_M = owner_M[inside_M], depth_M[inside_M]
    pixel_M = (first_N2[:, 1] * size + first_N2[:, 0]).long()[owner_M]
    pixel_M += (owner_M // faces) * size**2 + (row_M * size + column_M)[inside_M]
    nearest = depth_M.new_full((images * size**2,), torch.inf)
    nearest.scatter_reduce_(0, pixel_M, depth_M, "amin")
    seen_M = depth_M == nearest[pixel_M]
    visible = torch.full((images * size**2,), -1, device=owner_M.device)
    visible.scatter_reduce_(0, pixel_M[seen_M], owner_M[seen_M] % faces, "amax")
    return visible.reshape(images, size, size)


def interpolate(
    position_BV3: Tensor,
    value_BVC: Tensor,
    triangles_F3: Tensor,
    visible_BHW: Tensor,
    background: float = 0.0,
) -> Tensor:
    """Vertex values (B,V,C) across the triangles that `visible_triangles` found: (B,C,H,W).

    Differentiable in ``position_BV3`` (x and y) and ``value_BVC``.
    """
    images, vertices, _ = position_BV3.shape
    height, width = visible_BHW.shape[1:]
    seen_BP = visible_BHW.flatten(1) >= 0
    image_N, pixel_N = seen_BP.nonzero(as_tuple=True)
    corner_N3 = triangles_F3[visible_BHW.flatten(1)[seen_BP]] + (image_N * vertices)[:, None]
    flat = corner_N3.T.flatten()
    xy_3N2 = position_BV3[..., :2].flatten(0, 1).index_select(0, flat).reshape(3, -1, 2)
    value_3NC = value_BVC.flatten(0, 1).index_select(0, flat).reshape(3, -1, value_BVC.shape[2])
    point_N2 = torch.stack([pixel_N % width, pixel_N // width], 1).to(xy_3N2) + 0.5
    a_N2, b_N2, c_N2 = xy_3N2
    area_N = _cross(b_N2 - a_N2, c_N2 - a_N2)
    share_b_N1 = (_cross(point_N2 - a_N2, c_N2 - a_N2) / area_N)[:, None]
    share_c_N1 = (_cross(b_N2 - a_N2, point_N2 - a_N2) / area_N)[:, None]
    first_NC, second_NC, third_NC = value_3NC
    mixed_NC = first_NC + share_b_N1 * (second_NC - first_NC) + share_c_N1 * (third_NC - first_NC)
    image_BPC = value_BVC.new_full((images, height * width, value_BVC.shape[2]), background)
    image_BPC = image_BPC.index_put((image_N, pixel_N), mixed_NC)
    return image_BPC.transpose(1, 2).reshape(images, -1, height, width)


def _planes(origin_N2: Tensor, corner_3N3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shares of the second and third corner and the depth, each as (N,3): slope in x, slope in y, value at the origin.

    NaN or infinite for a triangle without area, which no pixel then sees.
    """
    a_N3, b_N3, c_N3 = corner_3N3
    u_N2, v_N2 = (b_N3 - a_N3)[:, :2], (c_N3 - a_N3)[:, :2]
    area_N = _cross(u_N2, v_N2)
    slope_b_N2 = torch.stack([v_N2[:, 1], -v_N2[:, 0]], 1) / area_N[:, None]
    slope_c_N2 = torch.stack([-u_N2[:, 1], u_N2[:, 0]], 1) / area_N[:, None]
    away_N2 = origin_N2 - a_N3[:, :2]
    share_b_N3 = torch.cat([slope_b_N2, (slope_b_N2 * away_N2).sum(1, keepdim=True)], 1)
    share_c_N3 = torch.cat([slope_c_N2, (slope_c_N2 * away_N2).sum(1, keepdim=True)], 1)
    rise_b_N1, rise_c_N1 = (b_N3 - a_N3)[:, 2:], (c_N3 - a_N3)[:, 2:]
    depth_N3 = share_b_N3 * rise_b_N1 + share_c_N3 * rise_c_N1
    depth_N3 = torch.cat([depth_N3[:, :2], depth_N3[:, 2:] + a_N3[:, 2:]], 1)
    return share_b_N3, share_c_N3, depth_N3


def _cross(u_N2: Tensor, v_N2: Tensor) -> Tensor:
    return u_N2[:, 0] * v_N2[:, 1] - u_N2[:, 1] * v_N2[:, 0]
