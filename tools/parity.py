#!/usr/bin/env python3
"""Compares the program with Meta's and MobileSAM's own Python code at full size, with random weights.

    python -m venv env && env/bin/pip install torch torchvision segment-anything mobilesam-mirror timm safetensors pillow
    env/bin/python tools/parity.py target/release/synthfm vit_t vit_b [vit_l vit_h] [--threads 2] [--options "..."]

For each model: random weights (every zero-initialised table and batch normalisation's statistics included) are saved as
a .pth, `synthfm embed` and `synthfm predict` run on one non-square image, and PyTorch runs on the same. Printed:

  embedding   largest difference over the largest magnitude
  masks       share of equal pixels over all prompts (clicks, boxes, both), and that of the worst prompt
  foreground  share of pixels above the threshold, which tells whether the masks could differ at all
  export      whether `models export` to pth and safetensors is loaded strictly, and bit for bit, by their code
  seconds     encoding: ours, PyTorch's (both with --threads; the first call of a process)
  memory      peak of `synthfm models verify`, which loads every weight, over the file's size

vit_h needs 2.6 GB of disk, 8 GB of memory and some minutes.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

HEIGHT, WIDTH = 600, 820
PROMPTS = [
    {"id": "click", "points": [[410, 300]], "point_labels": [1]},
    {"id": "corner", "points": [[12.5, 590]], "point_labels": [1]},
    {"id": "clicks", "points": [[200, 120], [640, 411.5], [33, 500]], "point_labels": [1, 1, 0]},
    {"id": "box", "box": [150, 90, 600, 480]},
    {"id": "small_box", "box": [700, 40, 760, 95]},
    {"id": "box_and_clicks", "box": [100, 200, 500, 560], "points": [[300, 400], [120, 210]], "point_labels": [1, 0]},
]


def package(name):
    if name == "vit_t":
        import mobile_sam
        return mobile_sam
    import segment_anything
    return segment_anything


def build(name, checkpoint=None):
    sam = package(name).sam_model_registry[name](checkpoint=checkpoint)
    return sam.eval()  # once more: MobileSAM's attention copies its biases at this moment


def randomise(sam, seed):
    """Spreads every value, so that no table stays at its initial zeros or ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, p in sam.named_parameters():
            # A wider spread of the tokens lets the random masks cross their threshold.
            spread = 0.3 if key.startswith(("prompt_encoder", "mask_decoder.mask_tokens")) else 0.02
            p.add_(spread * torch.randn(p.shape, generator=generator))
        for key, buffer in sam.named_buffers():
            if key.endswith("running_mean"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
            elif key.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return sam.eval()


def picture():
    """Smooth shapes and noise; not square."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [110 + 70 * np.sin(x / 47 + i) * np.cos(y / (31 + 9 * i)) for i in range(3)]
    image = np.stack(planes, -1)
    image[90:480, 150:600] += 45
    return np.clip(image + rng.normal(0, 9, image.shape), 0, 255).astype(np.uint8)


def peak_memory(command):
    """Peak of a process's resident memory in bytes, as Linux counts it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
        peak = max([peak, *(1024 * int(line.split()[1]) for line in lines)])
        time.sleep(0.02)
    if process.wait() != 0:
        raise SystemExit(f"failed: {command}")
    return peak


def reference(name, checkpoint, image):
    sam = build(name, checkpoint)
    predictor = package(name).SamPredictor(sam)
    started = time.perf_counter()
    predictor.set_image(image)
    seconds = time.perf_counter() - started
    masks = {}
    for prompt in PROMPTS:
        mask, _, _ = predictor.predict(
            point_coords=np.array(prompt["points"]) if "points" in prompt else None,
            point_labels=np.array(prompt["point_labels"]) if "points" in prompt else None,
            box=np.array(prompt["box"]) if "box" in prompt else None,
            multimask_output=False)
        masks[prompt["id"]] = mask[0]
    return predictor.get_image_embedding().numpy(), masks, seconds


def exports_load(run, name, checkpoint, work):
    original = torch.load(checkpoint, weights_only=True)
    for form in ("pth", "safetensors"):
        exported = work / f"exported.{form}"
        run("models", "export", checkpoint, exported, "--format", form)
        state = torch.load(exported, weights_only=True) if form == "pth" else load_file(exported)
        build(name).load_state_dict(state, strict=True)
        # MobileSAM's head and counters have no influence and are not kept.
        unused = ("image_encoder.head.", "image_encoder.norm_head.")
        for key, value in original.items():
            if not key.startswith(unused) and not key.endswith("num_batches_tracked"):
                if not torch.equal(state[key], value):
                    return f"{form}: {key} differs"
        exported.unlink()
    return "loads"


def compare(args, name, image, work):
    checkpoint = work / f"{name}.pth"
    torch.manual_seed(args.seed)
    torch.save(randomise(build(name), args.seed).state_dict(), checkpoint)

    def run(*command):
        options = shlex.split(args.options) if command[0] in ("embed", "predict") else []
        command = [args.synthfm, *map(str, command), "--threads", str(args.threads), "--quiet", "--json", *options]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    embedded = run("embed", work / "image.png", "-o", work / "embedding.safetensors", "--model", checkpoint)
    run("predict", work, "--prompts", work / "prompts.json", "-o", work / "masks", "--model", checkpoint)
    ours = load_file(work / "embedding.safetensors")["image_embedding"].numpy()
    theirs, masks, seconds = reference(name, checkpoint, image)
    equal, foreground = {}, []
    for prompt in PROMPTS:
        expected = masks[prompt["id"]]
        got = np.asarray(Image.open(work / "masks" / f"image__{prompt['id']}.png")) > 0
        equal[prompt["id"]] = (got == expected).mean()
        foreground.append(expected.mean())
    worst = min(equal, key=equal.get)
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    command = [args.synthfm, "models", "verify", str(checkpoint), "--threads", str(args.threads), "--quiet"]
    memory = peak_memory(command) / checkpoint.stat().st_size
    row = (f"| {name} | {difference:.1e} | {100 * np.mean(list(equal.values())):.3f} % | {100 * equal[worst]:.3f} % ({worst}) | "
           f"{100 * min(foreground):.0f} to {100 * max(foreground):.0f} % | {exports_load(run, name, checkpoint, work)} | "
           f"{embedded['encode_ms'] / 1e3:.2f} | {seconds:.2f} | {memory:.2f} |")
    checkpoint.unlink()
    return row, difference <= args.embedding_limit and np.mean(list(equal.values())) >= 0.999


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthfm", type=os.path.abspath)
    parser.add_argument("models", nargs="+", choices=["vit_t", "vit_b", "vit_l", "vit_h"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--options", default="", help="more flags of embed and predict")
    parser.add_argument("--embedding-limit", type=float, default=1e-3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("| model | embedding | masks | worst mask | foreground | export | ours, s | PyTorch, s | memory / file |")
    print("|---|---|---|---|---|---|---|---|---|")
    good = True
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            image = picture()
            Image.fromarray(image).save(work / "image.png")
            (work / "prompts.json").write_text(json.dumps([{"image": "image.png", **p} for p in PROMPTS]))
            row, fine = compare(args, name, image, work)
            print(row, flush=True)
            good = good and fine
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
