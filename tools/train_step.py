#!/usr/bin/env python3
"""Times whole training steps of our own model, ours and PyTorch's, in one run; then the encoder and a click.

    python -m venv env && env/bin/pip install torch numpy
    env/bin/python tools/train_step.py target/release/synthfm [--sizes 128 256] [--batches 8 16] [--rounds 3]

The step: image encoder, one click on each of four objects per image, a decoder pass without gradients whose logits
become the mask prompt beside a second click, a decoder pass with them, Dice, focal, balanced and IoU loss, backward,
gradients clipped to norm 1, AdamW, averaged weights. Ours is `synthfm bench train`, which also computes the distance
maps of both passes and looks for the second click; PyTorch (`tools/small_model.py`) gets both ready-made. Neither
makes its images.

PyTorch runs in f32 and under bf16 autocast, each with the memory format of the weights that was faster in a trial,
and with its fused AdamW. Rounds alternate, so that what else the machine does meets all; printed are the medians of
each round and over all. Both models must have the same number of parameters.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import time

import torch

from small_model import SmallModel, losses

OBJECTS = 4
REACH_MAPS = 36
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def timed(action, repeats):
    """Median and mean processor milliseconds of the repetitions after one that is not counted."""
    action()
    times, processor = [], time.process_time()
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times), 1e3 * (time.process_time() - processor) / repeats


def arithmetic(precision):
    if precision == "f32":
        return contextlib.nullcontext()
    return torch.autocast("cpu", torch.bfloat16)


class Inputs:
    """Random images, prompts and targets of a batch."""

    def __init__(self, side, images, objects):
        self.side, m, count = side, side // 2, images * objects
        self.images = torch.randn(images, 3, side, side)
        self.of_object = torch.arange(images).repeat_interleave(objects)
        self.clicks = side * torch.rand(count, 2, 2)
        # Channels last, as our kernels leave them.
        self.reach = [torch.rand(count, m, m, REACH_MAPS).permute(0, 3, 1, 2) for _ in range(2)]
        self.targets = (torch.rand(count, 1, m // 8, m // 8) > 0.7).float()
        self.targets = torch.nn.functional.interpolate(self.targets, size=m)[:, 0]


class Training:
    """A model in training."""

    def __init__(self, side, images, precision, memory_format):
        torch.manual_seed(0)
        self.model = SmallModel(side).to(memory_format=FORMATS[memory_format])
        self.average = [parameter.detach().clone() for parameter in self.model.parameters()]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.02, fused=True)
        self.inputs = Inputs(side, images, OBJECTS)
        self.inputs.images = self.inputs.images.to(memory_format=FORMATS[memory_format])
        self.precision = precision

    def step(self):
        inputs, model = self.inputs, self.model
        with arithmetic(self.precision):
            embedding = model.encode(inputs.images)
            with torch.no_grad():
                first = inputs.clicks[:, :1], inputs.reach[0]
                logits, _ = model.decode(embedding, inputs.of_object, *first)
            corrected = inputs.clicks, inputs.reach[1], logits
            logits, iou = model.decode(embedding, inputs.of_object, *corrected)
        loss = losses(logits.float(), inputs.targets, iou.float()).mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(model.parameters()), 1e-3)
        loss.item()


def faster_format(side, images, precision):
    """The memory format of the weights with the shorter step."""
    times = {name: timed(Training(side, images, precision, name).step, 2)[1] for name in FORMATS}
    return min(times, key=times.get)


def ours(program, threads, *arguments):
    command = [program, "bench", *arguments, "--threads", str(threads), "--device", "cpu", "--json", "-q"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def precision_flag(precision):
    return [] if precision == "f32" else ["--precision", precision]


def same_model(program, threads):
    """Exits unless both models have as many parameters."""
    found = ours(program, threads, "train", "--size", "128", "--batch", "1", "--objects", "1", "--repeats", "1")
    expected = SmallModel(128).size()
    if found["parameters"] != expected:
        raise SystemExit(f"not the same model: ours has {found['parameters']} parameters, PyTorch's {expected}")
    print(f"{expected} parameters in both")


def report(name, rows, images=None):
    """Prints medians over the rounds of each column, and ours over the better of PyTorch's."""
    medians = {column: [statistics.median(part) for part in zip(*(row[column] for row in rows))] for column in rows[0]}
    best = min(ms for column, (ms, *_) in medians.items() if column.startswith("PyTorch"))
    for column, (ms, *processor) in medians.items():
        text = f"{name:22} {column:14} {ms:8.1f} ms"
        if processor:
            text += f" ({processor[0]:8.1f} ms of processor time), {1e3 * images / ms:6.2f} images/s"
        if column.startswith("ours"):
            text += f", {ms / best:.2f} of PyTorch's better"
        print(text)


def training(arguments, side, images):
    """Alternating rounds of training steps."""
    formats = {precision: faster_format(side, images, precision) for precision in ("f32", "bf16")}
    print(f"  PyTorch's weights: {formats}")
    rows = []
    for number in range(arguments.rounds):
        row = {}
        for precision in arguments.ours:
            flags = ["--size", side, "--batch", images, "--objects", OBJECTS, "--corrections", 1]
            flags += ["--repeats", arguments.repeats, *precision_flag(precision)]
            found = ours(arguments.program, arguments.threads, "train", *map(str, flags))
            row[f"ours {precision}"] = found["step_ms"]["median"], found["cpu_ms"]
        for precision, memory_format in formats.items():
            step = Training(side, images, precision, memory_format).step
            row[f"PyTorch {precision}"] = timed(step, arguments.repeats)
        rows.append(row)
        text = ", ".join(f"{column} {ms:.0f}" for column, (ms, _) in row.items())
        print(f"  {side} px, batch {images}, round {number + 1}: {text} ms", flush=True)
    report(f"{side} px, batch {images}", rows, images)


def inference(arguments, side=256):
    """Alternating rounds of the encoder and of one click, on the built-in model's input side."""
    torch.manual_seed(0)
    model, inputs = SmallModel(side).eval(), Inputs(side, 1, 1)
    model = model.to(memory_format=torch.channels_last)
    encoder, click = [], []
    for _ in range(arguments.rounds):
        encoder.append({})
        click.append({})
        for precision in arguments.ours:
            flags = ["--repeats", "20", *precision_flag(precision)]
            found = ours(arguments.program, arguments.threads, "encoder", *flags)
            encoder[-1][f"ours {precision}"] = [found["encode_ms"]["median"]]
            found = ours(arguments.program, arguments.threads, "decoder", *flags)
            click[-1][f"ours {precision}"] = [found["click_ms"]["median"]]
        for precision in ("f32", "bf16"):
            with torch.inference_mode(), arithmetic(precision):
                encoder[-1][f"PyTorch {precision}"] = timed(lambda: model.encode(inputs.images), 20)[:1]
                embedding = model.encode(inputs.images)
                prompt = inputs.of_object, inputs.clicks[:, :1], inputs.reach[0]
                click[-1][f"PyTorch {precision}"] = timed(lambda: model.decode(embedding, *prompt), 20)[:1]
    report("encoder, one image", encoder)
    report("one click", click)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256])
    parser.add_argument("--batches", type=int, nargs="*", default=[8, 16])
    parser.add_argument("--repeats", type=int, default=3, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", nargs="+", default=["f32", "bf16"], help="precisions of ours")
    parser.add_argument("--no-inference", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads")
    same_model(arguments.program, arguments.threads)
    for side in arguments.sizes:
        for images in arguments.batches:
            training(arguments, side, images)
    if not arguments.no_inference:
        inference(arguments)


if __name__ == "__main__":
    main()
