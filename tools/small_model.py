"""Our own model in PyTorch, layer for layer, for tools/train_step.py.

Image encoder (crates/synthfm-sam/src/small_encoder.rs), prompt encoder and mask decoder with prompts drawn as maps
and with the distance maps as a ready tensor. Feature maps are [B, C, H, W] in channels-last memory. A space-to-depth
rearrangement with the product after it is written as the convolution with stride that it is, which PyTorch computes
faster.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = (32, 64, 128, 256)
BLOCKS = (2, 3, 2)
ATTENTION_BLOCKS, HEADS = 2, 8
DIM, MLP_DIM, MASKS = 128, 512, 4
MASK_CHANNELS = 16
REACH_MAPS, PROMPT_MAPS = 36, 5
SPOTS = (0.7, 3.0)


class Norm(nn.LayerNorm):
    """Layer normalisation over the channels of [B, C, H, W]."""

    def __init__(self, channels, eps=0.05):
        super().__init__(channels, eps=eps)

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def conv(side, inputs, outputs):
    return nn.Conv2d(inputs, outputs, side, padding=side // 2)


def down(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 2, stride=2), Norm(outputs))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.conv1, self.conv2 = Norm(channels), conv(3, channels, channels), conv(3, channels, channels)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(self.norm(x))))


def stage(blocks, channels):
    return nn.Sequential(*(Residual(channels) for _ in range(blocks)))


class AttentionBlock(nn.Module):
    """Pre-norm transformer block over all cells; x: [B, n, C]."""

    def __init__(self, channels):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels, eps=0.05), nn.LayerNorm(channels, eps=0.05)
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.lin1, self.lin2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        x = x + self.proj(mixed)
        return x + self.lin2(F.relu(self.lin1(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        c0, c1, c2, c3 = CHANNELS
        self.stem = conv(3, 12, c0)
        self.down = nn.ModuleList([down(c0, c1), down(c1, c2), down(c2, c3)])
        self.stages = nn.ModuleList(stage(blocks, channels) for blocks, channels in zip(BLOCKS, CHANNELS[1:]))
        self.attention = nn.Sequential(*(AttentionBlock(c3) for _ in range(ATTENTION_BLOCKS)))
        self.top, self.lateral = conv(1, c3, DIM), conv(1, c2, DIM)
        self.smooth, self.neck, self.neck_norm = conv(3, DIM, DIM), conv(1, DIM, DIM), Norm(DIM)
        self.high_res_s1, self.high_res_s0 = conv(1, c1, DIM // 4), conv(1, c0, DIM // 8)

    def forward(self, x):
        """[B, 3, S, S] -> [B, C, S/8, S/8], [B, C/4, S/4, S/4], [B, C/8, S/2, S/2]"""
        level0 = F.relu(self.stem(F.pixel_unshuffle(x, 2)))
        level1 = self.stages[0](self.down[0](level0))
        level2 = self.stages[1](self.down[1](level1))
        level3 = self.stages[2](self.down[2](level2))
        b, c, h, w = level3.shape
        tokens = self.attention(level3.permute(0, 2, 3, 1).reshape(b, h * w, c))
        level3 = tokens.view(b, h, w, c).permute(0, 3, 1, 2)
        joined = F.interpolate(self.top(level3), scale_factor=2) + self.lateral(level2)
        embedding = self.neck_norm(self.neck(F.relu(self.smooth(joined))))
        return embedding, self.high_res_s1(level1), self.high_res_s0(level0)


class PromptEncoder(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.side, self.grid = side, side // 8
        self.register_buffer("gaussian_matrix", torch.randn(2, DIM // 2))
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, DIM) for _ in range(4))
        self.not_a_point_embed, self.no_mask_embed = nn.Embedding(1, DIM), nn.Embedding(1, DIM)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, MASK_CHANNELS // 4, 2, stride=2),
            Norm(MASK_CHANNELS // 4, 1e-6),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS // 4, MASK_CHANNELS, 2, stride=2),
            Norm(MASK_CHANNELS, 1e-6),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS, DIM, 1),
        )

    def code(self, unit):
        angle = 2 * math.pi * ((2 * unit - 1) @ self.gaussian_matrix)
        return torch.cat([angle.sin(), angle.cos()], -1)

    def dense_code(self):
        """[1, g g, C]"""
        centres = (torch.arange(self.grid) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self.code(torch.stack([x, y], -1).view(1, -1, 2))

    def tokens(self, clicks):
        """Foreground clicks [N, P, 2] and a padding point: [N, P + 1, C]"""
        tokens = self.code((clicks + 0.5) / self.side) + self.point_embeddings[1].weight
        padding = self.not_a_point_embed.weight.expand(len(clicks), 1, DIM)
        return torch.cat([tokens, padding], 1)

    def maps(self, clicks):
        """Clicks as spots of two sizes: [N, 5, g, g]; the negative clicks' and the box's maps stay empty."""
        centres = (clicks + 0.5) * self.grid / self.side - 0.5
        maps = torch.zeros(len(clicks), self.grid, self.grid, PROMPT_MAPS)
        offsets = (torch.arange(self.grid) - centres[..., None]).square()  # [N, P, 2, g]
        for i, sd in enumerate(SPOTS):
            x, y = torch.exp(-0.5 / sd**2 * offsets).unbind(2)
            maps[..., i] = torch.einsum("npy,npx->nyx", y, x)
        return maps.permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Multi-head attention with projections of its own and a narrower inner width."""

    def __init__(self, inner):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(DIM, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, DIM)

    def forward(self, q, k, v):
        heads = lambda x: x.unflatten(2, (HEADS, -1)).transpose(1, 2)
        q, k, v = heads(self.q_proj(q)), heads(self.k_proj(k)), heads(self.v_proj(v))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.first = first
        self.self_attn = Attention(DIM)
        self.to_image, self.to_tokens = Attention(DIM // 2), Attention(DIM // 2)
        self.norms = nn.ModuleList(nn.LayerNorm(DIM) for _ in range(4))
        self.lin1, self.lin2 = nn.Linear(DIM, MLP_DIM), nn.Linear(MLP_DIM, DIM)

    def forward(self, queries, keys, query_code, key_code):
        if self.first:
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_code
            queries = queries + self.self_attn(q, q, queries)
        queries = self.norms[0](queries)
        attended = self.to_image(queries + query_code, keys + key_code, keys)
        queries = self.norms[1](queries + attended)
        queries = self.norms[2](queries + self.lin2(F.relu(self.lin1(queries))))
        attended = self.to_tokens(keys + key_code, queries + query_code, queries)
        return queries, self.norms[3](keys + attended)


def head(outputs):
    return nn.Sequential(
        nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, outputs)
    )


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.iou_token, self.mask_tokens = nn.Embedding(1, DIM), nn.Embedding(MASKS, DIM)
        self.layers = nn.ModuleList([TwoWayBlock(first=True), TwoWayBlock(first=False)])
        self.final_attn, self.final_norm = Attention(DIM // 2), nn.LayerNorm(DIM)
        self.up1, self.up_norm = nn.ConvTranspose2d(DIM, DIM // 4, 2, stride=2), Norm(DIM // 4, 1e-6)
        self.up2 = nn.ConvTranspose2d(DIM // 4, DIM // 8, 2, stride=2)
        self.hypernetworks = nn.ModuleList(head(DIM // 8) for _ in range(MASKS))
        self.iou_head = head(MASKS)
        # Prompts drawn as maps.
        self.map_code, self.map_down = conv(1, PROMPT_MAPS, DIM), down(DIM, DIM)
        self.map_blocks, self.map_up = stage(2, DIM), conv(1, DIM, 4 * DIM)
        # Distances from the clicks through the image.
        self.reach_code = nn.Conv2d(REACH_MAPS, DIM, 4, stride=4)
        self.reach_in, self.reach_out = conv(3, REACH_MAPS, DIM // 4), conv(1, DIM // 4, DIM // 8)

    def forward(self, src, finer, sparse, maps, reach, dense_code):
        """Image side [N, C, g, g] and finer maps of each object -> [N, m, m] and [N]"""
        n, c, g, _ = src.shape
        src = src + self.reach_code(reach) + self.map_code(maps)
        spread = self.map_up(self.map_blocks(self.map_down(src)))
        image = (src + F.pixel_shuffle(spread, 2)).permute(0, 2, 3, 1).reshape(n, g * g, c)
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output.expand(n, -1, -1), sparse], 1)
        queries = tokens
        for layer in self.layers:
            queries, image = layer(queries, image, tokens, dense_code)
        attended = self.final_attn(queries + tokens, image + dense_code, image)
        queries = self.final_norm(queries + attended)

        half, quarter = finer
        x = image.view(n, g, g, c).permute(0, 3, 1, 2)
        x = F.gelu(self.up_norm(self.up1(x) + half))
        fine = self.reach_out(F.relu(self.reach_in(reach)))
        x = F.gelu(self.up2(x) + quarter + fine)
        weights = self.hypernetworks[0](queries[:, 1])
        x = x.permute(0, 2, 3, 1).reshape(n, 16 * g * g, c // 8)
        logits = x @ weights[:, :, None]
        return logits.view(n, 4 * g, 4 * g), self.iou_head(queries[:, 0])[:, 0]


class SmallModel(nn.Module):
    """Our model for inputs of `side` pixels."""

    def __init__(self, side):
        super().__init__()
        self.encoder, self.prompt_encoder, self.decoder = Encoder(), PromptEncoder(side), Decoder()

    def size(self):
        """Parameters and the fixed matrix of the position code, as ours are counted."""
        fixed = self.prompt_encoder.gaussian_matrix.numel()
        return fixed + sum(parameter.numel() for parameter in self.parameters())

    def encode(self, images):
        return self.encoder(images)

    def decode(self, embedding, of_object, clicks, reach, masks=None):
        """One mask for each object from its clicks [N, P, 2], distance maps [N, 36, m, m], logits so far [N, m, m]."""
        prompts = self.prompt_encoder
        image, *finer = (features[of_object] for features in embedding)
        dense = prompts.no_mask_embed.weight[:, :, None, None]
        if masks is not None:
            dense = prompts.mask_downscaling(masks[:, None])
        sparse, maps = prompts.tokens(clicks), prompts.maps(clicks)
        return self.decoder(image + dense, finer, sparse, maps, reach, prompts.dense_code())


def losses(logits, target, iou):
    """The shipped recipe's weighted sum for each object: Dice, focal, balanced cross entropy, IoU regression."""
    x, t = logits.flatten(1), target.flatten(1)
    p, ce = x.sigmoid(), F.binary_cross_entropy_with_logits(x, t, reduction="none")
    dice = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    p_t, alpha_t = p * t + (1 - p) * (1 - t), 0.75 - 0.5 * t
    focal = (alpha_t * (1 - p_t) ** 2 * ce).mean(1)
    # At t = 1 the cross entropy is the foreground's, at t = 0 the background's.
    inside, outside = F.softplus(-x), F.softplus(x)
    mean = lambda ce, weight: (ce * weight).sum(1) / weight.sum(1).clamp_min(1)
    balanced = 0.5 * (mean(inside, t) + mean(outside, 1 - t))
    with torch.no_grad():
        hard, truth = (x > 0).float(), (t > 0.5).float()
        overlap = (hard * truth).sum(1)
        overlap = overlap / (hard.sum(1) + truth.sum(1) - overlap).clamp_min(1)
    return dice + 5 * focal + 0.2 * balanced + 0.05 * (iou - overlap) ** 2
