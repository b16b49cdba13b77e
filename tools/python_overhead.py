#!/usr/bin/env python3
"""What Python costs: the time of `import synthfm`, and of single calls beside the same calls in Rust.

    cargo build --release -p synthfm --example latency
    python tools/python_overhead.py target/release/examples/latency [--check]

Run by the Python that has the wheel. Calls alternate between Rust and Python, and medians are compared. With --check it
fails where the import takes over 150 ms, `generate` over 3 % more than Rust, or `segment` over 2 ms more.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

IMAGE = Path(__file__).parents[1] / "examples/Dataset001_Example/imagesTs/kidney_0000.png"
MOST_IMPORT_MS = 150
MOST_GENERATE_PERCENT = 3
MOST_SEGMENT_MS = 2


def milliseconds(call):
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1e6


class Rust:
    """The program that times calls in Rust."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def milliseconds(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline()) / 1e6

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def import_ms():
    """Fresh interpreters with synthfm, less fresh interpreters without; medians of paired runs."""
    run = lambda code: milliseconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))
    run("import synthfm")
    differences = [run("import synthfm") - run("pass") for _ in range(9)]
    return statistics.median(differences)


def paired(rust, python, count):
    """Medians of both, and of their differences, in milliseconds."""
    rust(0), python(0)
    pairs = []
    for n in range(count):
        # Whoever comes second may find a warmer machine.
        if n % 2:
            second, first = python(n), rust(n)
        else:
            first, second = rust(n), python(n)
        pairs.append((first, second))
    median = lambda values: statistics.median(list(values))
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(b - a for a, b in pairs)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("latency", help="the example `latency`")
    arguments.add_argument("--check", action="store_true")
    options = arguments.parse_args()
    cold = import_ms()

    import synthfm

    rust = Rust(options.latency)
    config = {"size": {"height": 512, "width": 512}}
    dataset = synthfm.Dataset(config, seed=1, size=1 << 20, masks=True)
    generate = paired(
        lambda n: rust.milliseconds("generate", 512, 1, n % 12),
        lambda n: milliseconds(lambda: dataset[n % 12]),
        60,
    )
    predictor = synthfm.Predictor(device="cpu")
    encode = paired(
        lambda n: rust.milliseconds("image", IMAGE),
        lambda n: milliseconds(lambda: predictor.set_image(IMAGE)),
        11,
    )
    segment = paired(
        lambda n: rust.milliseconds("segment", 129 + n % 5, 247),
        lambda n: milliseconds(lambda: predictor.segment([(129 + n % 5, 247)])),
        31,
    )
    rust.close()
    print(f"import synthfm: {cold:.0f} ms")
    for name, (a, b, more) in {"generate": generate, "set_image": encode, "segment": segment}.items():
        print(f"{name}: Rust {a:.2f} ms, Python {b:.2f} ms, median of differences {more:+.2f} ms ({100 * more / a:+.1f} %)")
    problems = []
    if cold > MOST_IMPORT_MS:
        problems.append(f"the import takes {cold:.0f} ms, more than {MOST_IMPORT_MS}")
    if 100 * generate[2] / generate[0] > MOST_GENERATE_PERCENT:
        problems.append(f"generate takes over {MOST_GENERATE_PERCENT} % more")
    if segment[2] > MOST_SEGMENT_MS:
        problems.append(f"segment takes over {MOST_SEGMENT_MS} ms more")
    if options.check and problems:
        sys.exit("failed: " + "; ".join(problems))


if __name__ == "__main__":
    main()
