#!/usr/bin/env python3
"""Reads a run's TensorBoard file back with TensorBoard's own reader and compares it with the run's logs.

    python -m venv env && env/bin/pip install tensorboard pillow
    env/bin/python tools/read_events.py RUN

Fails where a number of metrics.jsonl or validation.jsonl is missing, differs, or comes twice, or a picture is no PNG of
the stated size.
"""

import io
import json
import math
import sys
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


run = Path(sys.argv[1])
events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
events.Reload()
found = {}
for tag in events.Tags()["scalars"]:
    for event in events.Scalars(tag):
        key = (tag, event.step)
        assert key not in found, f"{key} comes twice"
        found[key] = event.value
expected = {}
for line in lines(run / "metrics.jsonl"):
    for name in ["loss", "dice", "lr", "grad_norm", "seconds_per_step", "waiting", "queue"]:
        expected[f"training/{name}", line["step"]] = line[name]
for line in lines(run / "validation.jsonl"):
    expected["validation/dice", line["step"]] = line["dice"]
    for setting in line["settings"]:
        for name in ["dice", "loss"]:
            expected[f"validation {name}/{setting['prompts']}", line["step"]] = setting[name]
    for score in line.get("real", []):
        expected[f"{score['data']}/{score['prompts']}", line["step"]] = score["dice"]
assert found.keys() == expected.keys(), sorted(found.keys() ^ expected.keys())
for key, value in expected.items():
    assert math.isclose(found[key], value, rel_tol=1e-6, abs_tol=1e-30), (key, found[key], value)
pictures = [event for tag in events.Tags()["images"] for event in events.Images(tag)]
for picture in pictures:
    size = Image.open(io.BytesIO(picture.encoded_image_string)).size
    assert size == (picture.width, picture.height), (size, picture.width, picture.height)
print(f"{run}: {len(found)} numbers under {len(events.Tags()['scalars'])} tags and {len(pictures)} pictures agree")
