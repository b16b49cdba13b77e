#!/usr/bin/env python3
"""Checks what the lock file brings in: licences that anybody may use for anything, sources, withdrawn versions.

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
    print(f"{len(packages)} crates, {len(problems)} problems")
    for problem in problems:
        print(problem)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
