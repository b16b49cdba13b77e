#!/usr/bin/env python3
"""Compares the program with Meta's (SAM, SAM 2.1) and MobileSAM's own Python code at full size, with random weights.

    python -m venv env && env/bin/pip install torch torchvision segment-anything mobilesam-mirror timm safetensors pillow \
        onnx onnxruntime
    SAM2_BUILD_CUDA=0 env/bin/pip install --no-build-isolation sam2
    env/bin/python tools/parity.py target/release/synthfm vit_t vit_b [vit_l vit_h sam2_tiny sam2_small sam2_base_plus \
        sam2_large] [--threads 2] [--no-bf16] [--no-onnx]

For each model: random weights (every zero-initialised table and batch normalisation's statistics included) are saved as
a .pth, `synthfm embed` and `synthfm predict` run on one non-square image, and PyTorch runs on the same. Printed:

  embedding   largest difference over the largest magnitude, in f32 and in bf16; with SAM 2's finer maps, the worst of them
  masks       share of equal pixels over all prompts (clicks, boxes, both) and that of the worst prompt in f32, and over
              all prompts in bf16
  foreground  share of pixels above the threshold, which tells whether the masks could differ at all
  export      whether `models export` to pth and safetensors is loaded strictly, and bit for bit, by their code
  onnx        `models export --format onnx` through onnx.checker and ONNX Runtime against their code, embedding and the
              worst prompt's masks (SamOnnxModel with return_single_mask) as above; left out with --no-onnx and for SAM 2
  seconds     encoding: ours, PyTorch's (both with --threads; the first call of a process)
  memory      peak of `synthfm models verify`, which loads every weight, over the file's size

vit_h needs 6 GB of disk, 12 GB of memory and some minutes.
"""

import argparse
import gc
import json
import os
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


SAM2 = {"sam2_tiny": "t", "sam2_small": "s", "sam2_base_plus": "b+", "sam2_large": "l"}


def package(name):
    if name == "vit_t":
        import mobile_sam
        return mobile_sam
    import segment_anything
    return segment_anything


def build_sam2(name, checkpoint=None):
    """SAM 2.1 as `build_sam2` builds it for its image predictor; `load_state_dict` is strict."""
    from sam2.build_sam import build_sam2

    config = f"configs/sam2.1/sam2.1_hiera_{SAM2[name]}.yaml"
    return build_sam2(config, checkpoint and str(checkpoint), device="cpu").eval()


def build(name, checkpoint=None):
    if name in SAM2:
        return build_sam2(name, checkpoint)
    sam = package(name).sam_model_registry[name](checkpoint=checkpoint)
    return sam.eval()  # once more: MobileSAM's attention copies its biases at this moment


def randomise(sam, seed):
    """Spreads every value, so that no table stays at its initial zeros or ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, p in sam.named_parameters():
            # A wider spread of the tokens lets the random masks cross their threshold.
            wide = ("prompt_encoder", "sam_prompt_encoder", "mask_decoder.mask_tokens", "sam_mask_decoder.mask_tokens")
            spread = 0.3 if key.startswith(wide) else 0.02
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
    """Maps of the embedding, masks of every prompt, seconds, and what ONNX Runtime is given and should return."""
    sam = build(name, checkpoint)
    if name in SAM2:
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        predictor = SAM2ImagePredictor(sam)
    else:
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
        masks[prompt["id"]] = mask[0] > 0
    maps = {"image_embedding": predictor.get_image_embedding().numpy()}
    if name in SAM2:
        finer = predictor._features["high_res_feats"]
        maps["high_res.quarter"], maps["high_res.half"] = (level.numpy() for level in finer)
        return maps, masks, seconds, None
    return maps, masks, seconds, onnx_reference(sam, predictor, image)


def state_of(name, path):
    """A .pth's state dict, which lies under a key in SAM 2's files."""
    state = torch.load(path, weights_only=True)
    return state["model"] if name in SAM2 else state


def exports_load(run, name, checkpoint, work):
    original = state_of(name, checkpoint)
    for form in ("pth", "safetensors"):
        exported = work / f"exported.{form}"
        run("models", "export", checkpoint, exported, "--format", form)
        state = state_of(name, exported) if form == "pth" else load_file(exported)
        build(name, exported if name in SAM2 and form == "pth" else None).load_state_dict(state, strict=True)
        # MobileSAM's head and counters have no influence and are not kept.
        unused = ("image_encoder.head.", "image_encoder.norm_head.")
        for key, value in original.items():
            if not key.startswith(unused) and not key.endswith("num_batches_tracked"):
                if not torch.equal(state[key], value):
                    return f"{form}: {key} differs"
        exported.unlink()
    return "loads"


def onnx_prompt(prompt, predictor):
    """Points and labels as tools give them to the decoder: a box is its corners, a padding point stands for none."""
    points = list(prompt.get("points", []))
    labels = list(prompt.get("point_labels", []))
    if "box" in prompt:
        x0, y0, x1, y1 = prompt["box"]
        points, labels = points + [[x0, y0], [x1, y1]], labels + [2, 3]
    else:
        points, labels = points + [[0, 0]], labels + [-1]
    coords = predictor.transform.apply_coords(np.array(points, np.float64), (HEIGHT, WIDTH))
    side = 4 * 64
    return {
        "point_coords": coords[None].astype(np.float32),
        "point_labels": np.array([labels], np.float32),
        "mask_input": np.zeros((1, 1, side, side), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array([HEIGHT, WIDTH], np.float32),
    }


def onnx_reference(sam, predictor, image):
    """Input of the encoder, prompts of the decoder, and what PyTorch makes of these."""
    from segment_anything.utils.onnx import SamOnnxModel

    pixels = predictor.transform.apply_image(image)
    tensor = sam.preprocess(torch.as_tensor(pixels).permute(2, 0, 1)[None].float()).numpy()
    decoder = SamOnnxModel(sam, return_single_mask=True)
    embedding = predictor.get_image_embedding()
    feeds = [onnx_prompt(prompt, predictor) for prompt in PROMPTS]
    answers = [decoder(embedding, *map(torch.as_tensor, feed.values())) for feed in feeds]
    return tensor, feeds, [(masks.numpy() > 0, scores.numpy()) for masks, scores, _ in answers]


def onnx_agrees(run, checkpoint, expected, work):
    """Largest difference of the embedding, and the smallest share of equal pixels, of ONNX Runtime and PyTorch."""
    import onnx
    import onnxruntime

    theirs, (tensor, feeds, answers) = expected
    run("models", "export", checkpoint, work / "model", "--format", "onnx")
    sessions = []
    for part in ("encoder", "decoder"):
        path = work / f"model.{part}.onnx"
        onnx.checker.check_model(str(path), full_check=path.stat().st_size < 1 << 30)
        sessions.append(onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]))
    encoder, decoder = sessions
    embedding = encoder.run(None, {"x": tensor})[0]
    difference = np.abs(embedding - theirs).max() / np.abs(theirs).max()
    equal = []
    for feed, (masks, scores) in zip(feeds, answers):
        got, ious, _ = decoder.run(None, {"image_embeddings": embedding, **feed})
        assert got.shape == (1, 1, HEIGHT, WIDTH) and np.abs(ious - scores).max() < 1e-3
        equal.append(((got > 0) == masks).mean())
    return difference, min(equal)


def ours(run, checkpoint, precision, expected, work):
    """Largest difference of the embedding, share of equal pixels by prompt, and seconds."""
    theirs, masks = expected
    options = ("--model", checkpoint, "--precision", precision)
    embedded = run("embed", work / "image.png", "-o", work / "embedding.safetensors", *options)
    run("predict", work, "--prompts", work / "prompts.json", "-o", work / "masks", *options)
    maps = load_file(work / "embedding.safetensors")
    off = [np.abs(maps[key].numpy() - value).max() / np.abs(value).max() for key, value in theirs.items()]
    equal = {}
    for prompt in PROMPTS:
        got = np.asarray(Image.open(work / "masks" / f"image__{prompt['id']}.png")) > 0
        equal[prompt["id"]] = (got == masks[prompt["id"]]).mean()
    return max(off), equal, embedded["encode_ms"] / 1e3


def compare(args, name, image, work):
    checkpoint = work / f"{name}.pth"
    torch.manual_seed(args.seed)
    state = randomise(build(name), args.seed).state_dict()
    torch.save({"model": state} if name in SAM2 else state, checkpoint)
    del state

    def run(*command):
        command = [args.synthfm, *map(str, command), "--threads", str(args.threads), "--quiet", "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    theirs, masks, seconds, for_onnx = reference(name, checkpoint, image)
    gc.collect()
    difference, equal, own_seconds = ours(run, checkpoint, "f32", (theirs, masks), work)
    mean = np.mean(list(equal.values()))
    worst = min(equal, key=equal.get)
    fine = difference <= 1e-3 and mean >= 0.999
    half = "no bf16 here"
    if args.bf16:
        half_difference, half_equal, _ = ours(run, checkpoint, "bf16", (theirs, masks), work)
        half = f"{half_difference:.1e}, {100 * np.mean(list(half_equal.values())):.2f} %"
    onnx = "not asked for"
    if args.onnx and for_onnx:
        onnx_difference, onnx_equal = onnx_agrees(run, checkpoint, (theirs["image_embedding"], for_onnx), work)
        onnx = f"{onnx_difference:.1e}, {100 * onnx_equal:.3f} %"
        fine = fine and onnx_difference <= 1e-3 and onnx_equal >= 0.999
    foreground = [mask.mean() for mask in masks.values()]
    command = [args.synthfm, "models", "verify", str(checkpoint), "--threads", str(args.threads), "--quiet"]
    memory = peak_memory(command) / checkpoint.stat().st_size
    row = (f"| {name} | {difference:.1e} | {100 * mean:.3f} % | {100 * equal[worst]:.3f} % ({worst}) | {half} | "
           f"{100 * min(foreground):.0f} to {100 * max(foreground):.0f} % | {exports_load(run, name, checkpoint, work)} | "
           f"{onnx} | {own_seconds:.2f} | {seconds:.2f} | {memory:.2f} |")
    checkpoint.unlink()
    return row, fine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthfm", type=os.path.abspath)
    parser.add_argument("models", nargs="+", choices=["vit_t", "vit_b", "vit_l", "vit_h", *SAM2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="for processors without AVX512-BF16")
    parser.add_argument("--no-onnx", dest="onnx", action="store_false")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(args.threads)
    print("| model | embedding | masks | worst mask | bf16 | foreground | export | onnx | ours, s | PyTorch, s | memory / file |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
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
