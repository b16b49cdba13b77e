#!/usr/bin/env python3
"""Replays what a command does to files, and asks at every point: what if the power failed here?

A record of the system calls (strace) is replayed one call at a time. After each, the disk may hold any of the states that
the calls so far allow: data that were not synchronised may be missing, a rename whose folder was not synchronised may or
may not have happened. In each such state every file that the command vouches for must be whole: a name that existed
before, or that was renamed into place, never leads to data that may be missing. When the command acknowledges something
(it ends, or answers a request), what it wrote before must not be undone any more.

    python3 tools/power_loss.py target/release/synthfm

Covers a mask with its record, the checkpoints of a training run, and steps of the annotator. Linux with strace.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import zlib
import struct
from pathlib import Path

CALLS = "openat,creat,write,writev,pwrite64,sendto,sendmsg,rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync,ftruncate,close,dup,copy_file_range"
LINE = re.compile(r"^\d+\s+(\w+)\((.*)\)\s+=\s+(-?\d+|\?)")
# A call during which another thread made one stands on two lines.
BEGUN = re.compile(r"^(\d+)\s+(\w+\(.*) <unfinished \.\.\.>$")
ENDED = re.compile(r"^(\d+)\s+<\.\.\. \w+ resumed>(.*)$")
# Files that are a log for people, or that are made again when they are missing.
PLAIN = ("metrics.jsonl", "validation.jsonl", ".lock", "events.out", "states.json.lock")


class Disk:
    """What is certain and what is not, after the calls so far."""

    def __init__(self, root):
        self.root = str(root)
        self.dirty = {}  # path -> bytes were written and not synchronised
        self.renamed = {}  # folder -> names that were renamed into it and are not certain
        self.problems = []
        self.acknowledged = 0
        self.renames = 0

    def inside(self, path):
        return path.startswith(self.root) and not any(part in path for part in PLAIN)

    def wrote(self, path):
        if self.inside(path):
            self.dirty[path] = True

    def synchronised(self, path):
        self.dirty.pop(path, None)
        self.renamed.pop(path, None)

    def renamed_to(self, old, new):
        for path in [path for path in self.dirty if path == old or path.startswith(old + "/")]:
            self.problems.append(f"{path} was renamed to {new} before its data were on the disk")
            self.dirty.pop(path)
        if self.inside(new):
            self.renames += 1
            self.renamed.setdefault(os.path.dirname(new), set()).add(new)

    def acknowledge(self, what, names=None):
        """Nothing that was renamed may still be undone."""
        self.acknowledged += 1
        for folder, new in self.renamed.items():
            for name in new:
                if names is None or any(part in name for part in names):
                    self.problems.append(f"{what}: the rename of {name} is not on the disk yet")
        for path in self.dirty:
            if names is None or any(part in path for part in names):
                self.problems.append(f"{what}: data of {path} are not on the disk yet")


def of_descriptor(arguments):
    """The path of the descriptor that a call begins with, as strace names it."""
    match = re.match(r"\d+<([^>]*)>", arguments)
    return match[1] if match else ""


def path_of(arguments, n=0):
    """The n-th path of a call, absolute, by the folders that strace names."""
    found = []
    for piece in re.findall(r'(?:AT_FDCWD|\d+)<[^>]*>|"(?:[^"\\]|\\.)*"', arguments):
        if piece.startswith('"'):
            name = piece[1:-1].encode().decode("unicode_escape")
            base = found.pop() if found and found[-1][0] == "folder" else ("folder", "")
            found.append(("path", os.path.normpath(os.path.join(base[1], name))))
        else:
            found.append(("folder", piece.split("<", 1)[1][:-1]))
    paths = [path for _, path in found]
    return paths[n] if n < len(paths) else ""


def replay(trace, root, acknowledged_by_send=None):
    disk = Disk(root)
    calls = 0
    begun = {}
    for line in open(trace, errors="replace"):
        if match := BEGUN.match(line):
            begun[match[1]] = match[2]
            continue
        if match := ENDED.match(line):
            line = f"{match[1]} {begun.pop(match[1], '')}{match[2]}"
        match = LINE.match(line)
        if not match or match[3].startswith("-"):
            continue
        calls += 1
        name, arguments = match[1], match[2]
        if name in ("write", "writev", "pwrite64", "ftruncate", "copy_file_range"):
            disk.wrote(of_descriptor(arguments))
        elif name in ("fsync", "fdatasync"):
            disk.synchronised(of_descriptor(arguments))
        elif name.startswith("rename"):
            disk.renamed_to(path_of(arguments), path_of(arguments, 1))
        elif name.startswith("unlink"):
            disk.dirty.pop(path_of(arguments), None)
        if acknowledged_by_send and "HTTP/1.1 200" in arguments and name in ("write", "writev", "sendto", "sendmsg"):
            disk.acknowledge("an answer", acknowledged_by_send)
    return disk, calls


def traced(command, trace, **more):
    return ["strace", "-f", "-y", "-s", "120", "-e", f"trace={CALLS}", "-o", str(trace), *command]


def report(what, disk, calls, least):
    print(f"{what}: {calls} calls, {disk.renames} renames, {disk.acknowledged} acknowledgements, {len(disk.problems)} problems")
    for problem in disk.problems[:10]:
        print(f"  {problem}")
    if disk.renames + disk.acknowledged < least:
        print("  too little was recorded: is the trace whole?")
        return 1
    return len(disk.problems)


def picture(path):
    rows = b"".join(b"\0" + bytes(60 if (x - 32) ** 2 + (y - 32) ** 2 > 200 else 180 for x in range(64)) for y in range(64))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def mask(program, root):
    picture(root / "a.png")
    (root / "m.png").write_bytes(b"an earlier mask")
    trace = root.parent / "mask.trace"
    command = [program, "predict", "a.png", "--point=32,32", "-o", "m.png", "--overlay", "o.png"]
    subprocess.run(traced(command, trace), cwd=root, check=True, capture_output=True)
    disk, calls = replay(trace, root)
    disk.acknowledge("the end")
    return report("predict", disk, calls, 3)


def training(program, root, repository):
    trace = root.parent / "train.trace"
    command = [program, "train", "--config", str(repository / "configs/tiny.toml"), "--out", "run"]
    command += ["--set", "images_per_epoch=16", "--set", "checkpoint_every=2", "--set", "validation.every=0"]
    subprocess.run(traced(command, trace), cwd=root, check=True, capture_output=True)
    disk, calls = replay(trace, root / "run/checkpoints")
    disk.acknowledge("the end")
    return report("train", disk, calls, 2)


def annotator(program, root):
    picture(root / "a.png")
    trace = root.parent / "serve.trace"
    command = traced([program, "serve", ".", "--port=0", "--json", "--quiet"], trace)
    server = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    text = ""
    for line in server.stdout:
        text += line
        if line == "}\n":
            break
    port = int(json.loads(text)["address"].rstrip("/").rsplit(":", 1)[1])

    def send(method, path, body=None, session=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Content-Type": "application/json"} | ({"X-Session": session} if session else {})
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return json.loads(content)

    session = send("POST", "/api/sessions")["session"]
    case = f"/api/cases/{send('GET', '/api/cases')['cases'][0]['id']}"
    send("POST", f"{case}/open", {}, session)
    for start in (100, 300, 700):
        runs = [start, 5, 64 * 64 - start - 5]
        stroke = {"structure": 1, "plane": "axial", "index": 0, "mode": "add", "runs": runs}
        send("POST", f"{case}/edit", stroke, session)
    send("POST", f"{case}/undo", {}, session)
    send("POST", f"{case}/state", {"state": "done"}, session)
    subprocess.run(["pkill", "-TERM", "-P", str(server.pid)], check=False)
    server.wait(timeout=30)
    disk, calls = replay(trace, root / "synthfm-annotations", ("journal.jsonl", "snapshot.json", "labels/"))
    return report("serve", disk, calls, 6)


def main():
    program = os.path.abspath(sys.argv[1])
    repository = Path(__file__).resolve().parent.parent
    failed = 0
    with tempfile.TemporaryDirectory(prefix="synthfm-power-") as folder:
        for name, check in [
            ("mask", lambda root: mask(program, root)),
            ("train", lambda root: training(program, root, repository)),
            ("serve", lambda root: annotator(program, root)),
        ]:
            root = Path(folder).resolve() / name
            root.mkdir()
            failed += check(root)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
