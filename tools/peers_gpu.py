#!/usr/bin/env python3
"""Times SAM's encoders on a GPU: synthfm (built with the feature gpu) and PyTorch, one after the other.

Needs an NVIDIA GPU, its Vulkan driver, and torch and segment-anything from PyPI; nothing is downloaded while it runs.
Weights are random: they do not change the time. Images of 1024 x 1024 are encoded one at a time; medians (and ranges) in
milliseconds of --repeats runs after some that are not counted. PyTorch's start with the preprocessed image on the GPU, ours
with the image on the host.

    cargo build --release -p synthfm --features gpu
    python tools/peers_gpu.py target/release/synthfm vit_b vit_h
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import torch

from peers import build, spread


def line(median, least, most):
    return f"{median:.1f} ({least:.1f} to {most:.1f}) ms"


def pytorch(sam, half, repeats):
    encoder, image = sam.image_encoder.cuda(), torch.rand(1, 3, 1024, 1024).cuda()
    encoder, image = (encoder.half(), image.half()) if half else (encoder.float(), image)

    def encode():
        encoder(image)
        torch.cuda.synchronize()

    encode()
    encode()
    return line(*spread(encode, repeats))


def ours(program, device, checkpoint, precision, repeats):
    command = [program, "bench", "encoder", "--device", device, "--model", checkpoint, "--precision", precision,
               "--repeats", str(repeats), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return "failed: " + done.stderr.strip().splitlines()[-1]
    result = json.loads(done.stdout)
    times = result["encode_ms"]
    time = line(times["median"], times["min"], times["max"])
    return f"{time}, {result['images_per_second']:.1f} images/s on {result['device']}"


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
                print(f"{kind} {name}: PyTorch {pytorch(sam, half, args.repeats)}", flush=True)
                print(f"{kind} {name}: synthfm {ours(args.synthfm, args.device, str(checkpoint), name, args.repeats)}", flush=True)
            checkpoint.unlink()


if __name__ == "__main__":
    main()
