#!/usr/bin/env python3
"""Times SAM's encoders on a GPU: synthfm (built with the feature gpu) and PyTorch, one after the other, as a table.

Needs an NVIDIA GPU, its Vulkan driver, and torch and segment-anything from PyPI; nothing is downloaded while it runs.
Weights are random: they do not change the time. Images of 1024 x 1024 are encoded one at a time; medians (and ranges) in
milliseconds of --repeats runs after one that is not counted. PyTorch's start with the preprocessed image on the GPU, ours
with the image on the host.

    cargo build --release --features gpu
    python tools/peers_gpu.py target/release/synthfm vit_b vit_h
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from segment_anything import sam_model_registry


def spread(times):
    return f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"


def build(kind):
    """A model of random weights, among them the position codes that start at zero."""
    torch.manual_seed(0)
    sam = sam_model_registry[kind]().eval()
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name or name.endswith("pos_embed"):
            torch.nn.init.normal_(parameter, std=0.02)
    return sam


def pytorch(sam, half, repeats):
    encoder, image = sam.image_encoder.cuda(), torch.rand(1, 3, 1024, 1024, device="cuda")
    encoder, image = (encoder.half(), image.half()) if half else (encoder.float(), image)
    times = []
    for _ in range(repeats + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        encoder(image)
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return spread(times[3:])


def ours(program, device, checkpoint, precision, repeats):
    command = [program, "bench", "encoder", "--device", device, "--model", checkpoint, "--precision", precision,
               "--repeats", str(repeats), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return "failed: " + done.stderr.strip().splitlines()[-1]
    result = json.loads(done.stdout)
    times = result["encode_ms"]
    return (f"{times['median']:.1f} ({times['min']:.1f} to {times['max']:.1f}) ms, "
            f"{result['images_per_second']:.1f} images/s on {result['device']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthfm")
    parser.add_argument("models", nargs="+", choices=["vit_b", "vit_l", "vit_h"])
    parser.add_argument("--device", default="vulkan")
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.models:
            sam = build(kind)
            checkpoint = Path(folder) / f"{kind}.pth"
            torch.save(sam.state_dict(), checkpoint)
            for half in (False, True):
                name = "f16" if half else "f32"
                print(f"{kind} {name}: PyTorch {pytorch(sam, half, args.repeats)} ms", flush=True)
                print(f"{kind} {name}: synthfm {ours(args.synthfm, args.device, str(checkpoint), name, args.repeats)}", flush=True)
            checkpoint.unlink()


if __name__ == "__main__":
    main()
