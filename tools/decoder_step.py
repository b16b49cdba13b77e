#!/usr/bin/env python3
"""Times one training step of SAM's decoder, ours and PyTorch's, in one run.

    python -m venv env && env/bin/pip install torch segment-anything torchvision
    env/bin/python tools/decoder_step.py target/release/synthfm [--threads 2] [--repeats 20] [--rounds 3]

The step: Meta's prompt encoder and mask decoder on a frozen embedding of 256 x 64 x 64, one click on each of one or four
objects, Dice loss of the single mask at 256 x 256, backward, AdamW over both. Ours is `synthfm bench step`. Rounds
alternate, so that what else the machine does meets both; printed are the medians of each round and over all.
"""

import argparse
import json
import statistics
import subprocess
import time

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer


def modules():
    prompt_encoder = PromptEncoder(
        embed_dim=256, image_embedding_size=(64, 64), input_image_size=(1024, 1024), mask_in_chans=16
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    decoder = MaskDecoder(
        num_multimask_outputs=3, transformer=transformer, transformer_dim=256, iou_head_depth=3, iou_head_hidden_dim=256
    )
    return prompt_encoder, decoder


def pytorch(objects, repeats):
    torch.manual_seed(0)
    prompt_encoder, decoder = modules()
    parameters = [*prompt_encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    embedding = torch.randn(1, 256, 64, 64)
    target = (torch.rand(objects, 1, 256, 256) > 0.7).float()
    coords = 1024 * torch.rand(objects, 1, 2)
    labels = torch.ones(objects, 1)

    def step():
        sparse, dense = prompt_encoder(points=(coords, labels), boxes=None, masks=None)
        masks, _ = decoder(
            image_embeddings=embedding,
            image_pe=prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        p, t = masks.sigmoid().flatten(1), target.flatten(1)
        loss = (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def ours(program, threads, repeats):
    command = [program, "bench", "step", "--repeats", str(repeats), "--threads", str(threads), "--json", "-q"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found["one_object_ms"]["median"], found["objects_ms"]["median"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for number in range(arguments.rounds):
        row = (
            *ours(arguments.program, arguments.threads, arguments.repeats),
            pytorch(1, arguments.repeats),
            pytorch(4, arguments.repeats),
        )
        rows.append(row)
        print(f"round {number + 1}: ours {row[0]:.0f} / {row[1]:.0f} ms, PyTorch {row[2]:.0f} / {row[3]:.0f} ms")
    ours_1, ours_4, torch_1, torch_4 = (statistics.median(column) for column in zip(*rows))
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads")
    print(f"one object    ours {ours_1:.0f} ms, PyTorch {torch_1:.0f} ms, ratio {ours_1 / torch_1:.2f}")
    print(f"four objects  ours {ours_4:.0f} ms, PyTorch {torch_4:.0f} ms, ratio {ours_4 / torch_4:.2f}")


if __name__ == "__main__":
    main()
