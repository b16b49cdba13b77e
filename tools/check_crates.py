#!/usr/bin/env python3
"""Checks what the lock file brings in: licences that anybody may use for anything, sources, withdrawn versions; and that the
crates of this repository depend downwards only, those for inference without the tensor library's gradients.

Run by hand or from .ci/run, in the repository's folder: python3 tools/check_crates.py
"""

import json
import re
import subprocess
import sys

# Licences under which a crate may be linked into a program that is given away under MIT or Apache-2.0.
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "NCSA", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip

# Crates that name no licence but bring its text, which was read.
READ = {"cfg_block 0.1.1": "Apache-2.0"}

# Crates of this repository, and which others of it each may use.
BELOW = {
    "image": set(),
    "synth": {"image"},
    "ops": set(),
    "sam": {"image", "ops"},
    "eval": {"image", "synth", "sam"},
    "serve": {"image", "sam", "eval"},
    "train": {"image", "synth", "sam", "eval"},
}
# Crates that build without gradients.
INFERENCE = ["sam", "eval", "serve"]


def satisfied(expression):
    """Whether an SPDX expression can be met by allowed licences alone."""
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|[^\s()]+", expression)

    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one():
        token = tokens.pop(0)
        if token == "(":
            value = either()
            tokens.pop(0)
            return value
        if tokens and tokens[0] == "WITH":
            token = " ".join([token, tokens.pop(0), tokens.pop(0)])
        return token in ALLOWED

    return either()


def layers(packages):
    """What breaks the order of this repository's crates."""
    problems = []
    own = {p["name"].removeprefix("synthfm-"): p for p in packages if p["name"].startswith("synthfm-")}
    for name, allowed in BELOW.items():
        used = {d["name"] for d in own[name]["dependencies"] if d["kind"] is None}
        used = {d.removeprefix("synthfm-") for d in used if d.startswith("synthfm")}
        for other in sorted(used - allowed):
            problems.append(f"synthfm-{name} uses synthfm-{other}, which is not below it")
    for name in INFERENCE:
        command = ["cargo", "tree", "--locked", "--edges=normal", "--prefix=none", "--package", f"synthfm-{name}"]
        tree = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for line in sorted(set(tree.splitlines())):
            if line.startswith(("burn-autodiff ", "burn-optim ", "synthfm-train ")):
                problems.append(f"synthfm-{name} needs {line.split()[0]}")
    return problems


def main():
    command = ["cargo", "metadata", "--format-version=1", "--locked"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    problems = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package["license"] or READ.get(name)
        if not licence:
            problems.append(f"{name}: no licence is stated")
        elif not satisfied(licence):
            problems.append(f"{name}: {licence} is not among the licences that are allowed")
        source = package["source"]
        if source and not source.startswith("registry+"):
            problems.append(f"{name}: comes from {source}, not from a registry")
    problems += layers(packages)
    print(f"{len(packages)} crates, {len(problems)} problems")
    for problem in problems:
        print(problem)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
