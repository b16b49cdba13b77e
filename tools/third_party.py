#!/usr/bin/env python3
"""Writes the licences of all crates that the program and the Python module are linked with, with their texts.

    python3 tools/third_party.py THIRD-PARTY.txt [NAME=FILE ...]     # adds licences of what is no crate
    python3 tools/third_party.py --check                             # writes nothing

A crate that brings no text gets that of a crate from the same repository, or, if its licence allows it, the Apache
License's; it is named either way. Fails where a crate would be left without a text.
"""

import json
import subprocess
import sys
from pathlib import Path

PACKAGES = ("synthfm", "synthfm-python")
TARGET = "x86_64-unknown-linux-gnu"
APACHE = Path(__file__).resolve().parents[1] / "LICENSE-APACHE"
STARTS = ("license", "licence", "copying", "notice", "copyright", "unlicense")
MAX_BYTES = 1 << 20


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], check=True, capture_output=True, text=True).stdout


def crates():
    """Crates that are linked, but our own; not what only builds or tests."""
    chosen = [part for name in PACKAGES for part in ("--package", name)]
    lines = cargo(
        "tree", *chosen, "--edges=normal,no-proc-macro", f"--target={TARGET}", "--prefix=none", "--no-dedupe",
        "--format={p}",
    ).splitlines()  # fmt: skip
    linked = {tuple(line.split()[:2]) for line in lines if line}
    packages = json.loads(cargo("metadata", "--format-version=1"))["packages"]
    found = [p for p in packages if p["source"] and (p["name"], f"v{p['version']}") in linked]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def texts(package):
    """The crate's own files on licences, by name."""
    folder = Path(package["manifest_path"]).parent
    files = {path for path in folder.iterdir() if path.name.lower().startswith(STARTS) and path.is_file()}
    if package["license_file"]:
        files.add(folder / package["license_file"])
    kept = (path for path in sorted(files) if path.suffix not in (".rs", ".toml") and path.stat().st_size <= MAX_BYTES)
    return [path.read_text(errors="replace").strip() for path in kept]


def repository(package):
    """Where a crate comes from, without the folder in it."""
    address = (package["repository"] or package["name"]).removesuffix(".git").rstrip("/")
    return address.partition("/tree/")[0].lower()


def collected(packages):
    """Per crate: its texts, and a remark where they are not its own; `None` where there are none."""
    own = {package["id"]: texts(package) for package in packages}
    by_repository = {}
    for package in packages:
        if own[package["id"]]:
            by_repository.setdefault(repository(package), package)
    for package in packages:
        found = own[package["id"]]
        if found:
            yield package, found, ""
        elif sibling := by_repository.get(repository(package)):
            yield package, own[sibling["id"]], f"brings no text; that of {sibling['name']}, from the same repository"
        elif "Apache-2.0" in (package["license"] or "").replace("/", " OR ").split(" OR "):
            yield package, [APACHE.read_text().strip()], "brings no text; taken under the Apache License"
        else:
            yield package, None, "brings no text"


def main():
    out, *more = sys.argv[1:] or sys.exit(__doc__)
    lines = ["synthfm is linked with what is listed here. The licences follow, each text once.", ""]
    users, without, remarks = {}, [], []
    for package, found, remark in collected(crates()):
        name = f"{package['name']} {package['version']}"
        lines.append(f"{name}: {package['license'] or 'see its text'}" + (f" ({remark})" if remark else ""))
        if remark:
            remarks.append(f"{name} ({package['license']}): {remark}")
        if found is None:
            without.append(name)
        for text in found or []:
            users.setdefault(text, []).append(name)
    for pair in more:
        name, _, path = pair.partition("=")
        lines.append(name)
        users.setdefault(Path(path).read_text(errors="replace").strip(), []).append(name)
    count = len(lines) - 2
    for text, names in users.items():
        lines += ["", "=" * 78, "Licence of " + ", ".join(names), "-" * 78, text]
    print(*remarks, f"{count} licensed works, {len(users)} texts, {len(without)} without", sep="\n")
    if without:
        sys.exit(f"failed: no licence text for {', '.join(without)}")
    if out != "--check":
        Path(out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
