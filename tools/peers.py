#!/usr/bin/env python3
"""Times synthfm, PyTorch and ONNX Runtime on the same models, one after the other, and prints a table.

Needs a virtual environment of its own with torch, segment-anything, mobilesam-mirror, onnx and onnxruntime from
PyPI; nothing is downloaded while it runs. Weights are random: they do not change the time. Models are written to a
temporary folder (about 1.5 GB for vit_b).

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install torch torchvision timm segment-anything \\
        mobilesam-mirror onnx onnxruntime
    cargo build --release
    /tmp/peers/bin/python tools/peers.py --synthfm target/release/synthfm

Times are medians (and ranges) in milliseconds after one run that is not counted.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch

BOXES = 16


def spread(action, repeats):
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times), min(times), max(times)


def build(kind):
    """A model of random weights, among them the position codes that start at zero."""
    torch.manual_seed(0)
    if kind == "vit_t":
        from mobile_sam import sam_model_registry
    else:
        from segment_anything import sam_model_registry
    sam = sam_model_registry[kind]().eval()
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name or name.endswith("pos_embed"):
            torch.nn.init.normal_(parameter, std=0.02)
    return sam


def prompts(count):
    low = torch.rand(count, 2) * 400
    return torch.cat([low, low + 100 + torch.rand(count, 2) * 400], 1)


def torch_times(sam, repeats):
    image = torch.randn(1, 3, 1024, 1024)
    encode = lambda: sam.image_encoder(image)
    yield "encode, f32", spread(encode, repeats)
    with torch.autocast("cpu", torch.bfloat16):
        yield "encode, bf16", spread(encode, repeats)

    embedding = torch.randn(1, 256, 64, 64)

    def decode(points, boxes):
        sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=None)
        sam.mask_decoder(
            image_embeddings=embedding,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )

    click = (torch.tensor([[[400.0, 500.0]]]), torch.ones(1, 1, dtype=torch.int64))
    yield "click", spread(lambda: decode(click, None), 4 * repeats)
    boxes = prompts(BOXES)
    yield f"box of {BOXES}", tuple(t / BOXES for t in spread(lambda: decode(None, boxes), repeats))


def onnx_times(sam, folder, threads, repeats):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    open_session = lambda path: onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    encoder = folder / "encoder.onnx"
    image = torch.randn(1, 3, 1024, 1024)
    torch.onnx.export(sam.image_encoder, (image,), str(encoder), input_names=["image"],
                      opset_version=17, dynamo=False)
    session = open_session(encoder)
    yield "encode, f32", spread(lambda: session.run(None, {"image": image.numpy()}), repeats)

    from segment_anything.utils.onnx import SamOnnxModel

    decoder = folder / "decoder.onnx"
    inputs = {
        "image_embeddings": torch.randn(1, 256, 64, 64),
        "point_coords": torch.tensor([[[400.0, 500.0], [0.0, 0.0]]]),
        "point_labels": torch.tensor([[1.0, -1.0]]),
        "mask_input": torch.zeros(1, 1, 256, 256),
        "has_mask_input": torch.zeros(1),
        "orig_im_size": torch.tensor([1024.0, 1024.0]),
    }
    # Low-resolution masks alone, as the others are timed: resampling to the image is not the decoder's.
    names = ["masks", "iou_predictions", "low_res_masks"]
    torch.onnx.export(SamOnnxModel(sam, return_single_mask=True), tuple(inputs.values()), str(decoder),
                      input_names=list(inputs), output_names=names, opset_version=17, dynamo=False)
    session = open_session(decoder)
    feed = {name: value.numpy() for name, value in inputs.items()}
    wanted = ["iou_predictions", "low_res_masks"]
    yield "click", spread(lambda: session.run(wanted, feed), 4 * repeats)


def synthfm_times(program, model, threads, repeats):
    def bench(*arguments):
        command = [program, "bench", *arguments, "--model", str(model), "--threads", str(threads),
                   "--device", "cpu", "--json", "--quiet"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    of = lambda times: (times["median"], times["min"], times["max"])
    for precision in ("f32", "bf16"):
        try:
            found = bench("encoder", "--repeats", str(repeats), "--precision", precision)
        except subprocess.CalledProcessError as error:
            print(f"synthfm {precision}: {error.stderr.strip()}")
            continue
        yield f"encode, {precision}", of(found["encode_ms"])
        yield f"peak memory, {precision} (MB)", (found["peak_memory_mb"],) * 3
    found = bench("decoder", "--repeats", str(4 * repeats))
    yield "click", of(found["click_ms"])
    yield f"box of {BOXES}", of(found["box_ms"])


def main():
    import onnxruntime

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthfm", default="target/release/synthfm", help="the program")
    parser.add_argument("--models", nargs="+", default=["vit_b", "vit_t"], help="vit_b, vit_l, vit_h, vit_t")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch {torch.__version__}, "
          f"onnxruntime {onnxruntime.__version__}; load average before: {load:.1f}")
    print("\n| model | what | engine | median | min | max |\n|---|---|---|---|---|---|")

    def rows(kind, engine, times):
        for what, (median, low, high) in times:
            print(f"| {kind} | {what} | {engine} | {median:.1f} | {low:.1f} | {high:.1f} |", flush=True)

    for kind in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            sam = build(kind)
            weights = folder / f"{kind}.pth"
            torch.save(sam.state_dict(), weights)
            rows(kind, "synthfm", synthfm_times(arguments.synthfm, weights, arguments.threads, arguments.repeats))
            rows(kind, "PyTorch", torch_times(sam, arguments.repeats))
            rows(kind, "ONNX Runtime", onnx_times(sam, folder, arguments.threads, arguments.repeats))


if __name__ == "__main__":
    main()
