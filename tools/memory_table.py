#!/usr/bin/env python3
"""Peak memory and time of `synthfm info`, `predict` and `serve` on small files that ask for much, as a table.

For each format a file of about 1 MB and one of about 10 MB whose content compresses as far as the format lets it, read
under --max-memory 512MB and 2GB. A file that is refused must be refused early; one that is read may take 1.3 times the
limit and 150 MB. Of pictures, volumes and JPEG 2000 frames the largest whose answer is within the limit, and one that
is not. The server, whose largest file is the limit, gets the same files as uploads.

Run by hand: python3 tools/memory_table.py target/release/synthfm   (needs numpy and Linux; about five minutes)
"""

import gzip
import http.client
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

LIMITS = {"512MB": 512_000_000, "2GB": 2_000_000_000}
ALLOWED = 1.3, 150_000_000
MAX_SECONDS = 300
# As synthfm_sam::BYTES_PER_PIXEL.
BYTES_PER_PIXEL = 20
# As in `predict`: for a voxel, where structures are carried, and beside both.
VOXEL_BYTES, CARRIED_VOXEL_BYTES, ROOM_BYTES = 7, 13, 64 << 20
# For a sample of one tile: what the decoder takes, and the values.
JPEG2000_BYTES = 22


def nifti(path, shape, kind):
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    code, bits = {"u8": (2, 8), "i16": (4, 16), "f64": (64, 64)}[kind]
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    count = shape[0] * shape[1] * shape[2] * bits // 8
    with gzip.open(path, "wb", 9) as out:
        out.write(bytes(header) + bytes(4))
        zeros(out, count)


def zeros(out, count):
    block = bytes(1 << 20)
    while count > 0:
        out.write(block[: min(count, len(block))])
        count -= len(block)


def nrrd(path, shape):
    header = (
        f"NRRD0004\ntype: unsigned char\ndimension: 3\nsizes: {shape[0]} {shape[1]} {shape[2]}\nencoding: gzip\n\n"
    )
    with open(path, "wb") as out:
        out.write(header.encode())
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as inner:
            zeros(inner, shape[0] * shape[1] * shape[2])


def meta_image(path, shape):
    body = io.BytesIO()
    packer = zlib.compressobj(9)
    left = shape[0] * shape[1] * shape[2]
    while left > 0:
        body.write(packer.compress(bytes(min(left, 1 << 20))))
        left -= 1 << 20
    body.write(packer.flush())
    header = (
        f"ObjectType = Image\nNDims = 3\nDimSize = {shape[0]} {shape[1]} {shape[2]}\nElementType = MET_UCHAR\n"
        f"CompressedData = True\nCompressedDataSize = {body.tell()}\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + body.getvalue())


def npz(path, shape):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("image.npy", "w", force_zip64=True) as out:
            out.write(head.getvalue())
            zeros(out, shape[0] * shape[1] * shape[2])


def png(path, side, depth=16):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side * depth // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, depth, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def tiff(path, side):
    packer = zlib.compressobj(9)
    row = bytes(side * 2)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    entries = [(256, 4, side), (257, 4, side), (258, 3, 16), (259, 3, 8), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, side), (279, 4, len(body))]
    out = struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body
    out += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in entries)
    path.write_bytes(out + bytes(4))


def dicom(path, rows, columns, frames):
    """A deflated data set of zeros."""
    meta, data = dicom_header(rows, columns, frames, b"1.2.840.10008.1.2.1.99")
    size = rows * columns * frames * 2
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(data + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, size))
    while size > 0:
        body += packer.compress(bytes(min(size, 1 << 20)))
        size -= 1 << 20
    path.write_bytes(meta + body + packer.flush())


def code_stream(side):
    """A JPEG 2000 stream of one tile without a single bit of content: all its packets are empty."""
    levels = 5
    siz = struct.pack(">HIIIIIIIIHBBB", 0, side, side, 0, 0, side, side, 0, 0, 1, 15, 1, 1)
    cod = bytes([0, 0, 0, 1, 0, levels, 4, 4, 0, 1])
    qcd = bytes([2 << 5]) + bytes(16 << 3 for _ in range(3 * levels + 1))
    out = b"\xff\x4f"
    for marker, content in ((0x51, siz), (0x52, cod), (0x5C, qcd)):
        out += struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
    # An empty packet is a byte of zeros; the sides are below the largest precinct, so that there is one per level.
    packets = bytes(levels + 1)
    return out + struct.pack(">BBHHIBB", 0xFF, 0x90, 10, 0, 14 + len(packets), 0, 1) + b"\xff\x93" + packets + b"\xff\xd9"


def jpeg2000(path, side, frames=1):
    """Frames of 16 bits, each a fragment of some hundred bytes."""

    def item(value):
        value += bytes(len(value) % 2)
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value

    header = dicom_header(side, side, frames, b"1.2.840.10008.1.2.4.90")
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + item(b"")
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    path.write_bytes(b"".join(header) + pixels + item(code_stream(side)) * frames + end)


def dicom_header(rows, columns, frames, syntax):
    """File meta information and data set up to the pixel data."""

    def element(group, number, kind, value):
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, kind, len(value)) + value

    meta = element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.7.3") + element(2, 3, b"UI", b"1.2.3")
    meta += element(2, 0x10, b"UI", syntax)
    meta = element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    data = element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.7.3") + element(8, 0x18, b"UI", b"1.2.3")
    data += element(0x20, 0xD, b"UI", b"1.2") + element(0x20, 0xE, b"UI", b"1.2.1")
    data += element(0x28, 2, b"US", struct.pack("<H", 1)) + element(0x28, 4, b"CS", b"MONOCHROME2")
    data += element(0x28, 8, b"IS", str(frames).encode())
    for number, value in [(0x10, rows), (0x11, columns), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0)]:
        data += element(0x28, number, b"US", struct.pack("<H", value))
    return bytes(128) + b"DICM" + meta, data


def worst(folder, megabytes):
    """Files of about so many megabytes, by name; deflate shrinks zeros to about a thousandth."""
    n = megabytes
    made = {
        "NIfTI (.nii.gz), bytes": ("a.nii.gz", lambda p: nifti(p, (1000, 1000, 970 * n), "u8")),
        "NIfTI (.nii.gz), doubles": ("b.nii.gz", lambda p: nifti(p, (1000, 1000, 120 * n), "f64")),
        "NRRD, gzip": ("c.nrrd", lambda p: nrrd(p, (1000, 1000, 970 * n))),
        "MetaImage, zlib": ("d.mha", lambda p: meta_image(p, (1000, 1000, 970 * n))),
        "NPZ": ("e.npz", lambda p: npz(p, (970 * n, 1000, 1000))),
        "PNG, 16 bits": ("f.png", lambda p: png(p, int((480e6 * n) ** 0.5))),
        "TIFF, deflate": ("g.tif", lambda p: tiff(p, int((480e6 * n) ** 0.5))),
        "DICOM, deflated": ("h.dcm", lambda p: dicom(p, 1000, 1000, min(480 * n, 2100))),
        "DICOM, JPEG 2000": ("i.dcm", lambda p: jpeg2000(p, 1000, 8000 * n)),
    }
    for name, (file, make) in made.items():
        path = folder / file
        make(path)
        yield name, path


def pictures(folder, limit):
    """8-bit pictures of the most pixels that are answered about under a limit, and of a fifth more, by name."""
    most = (1.25 * limit + (64 << 20)) / BYTES_PER_PIXEL
    for name, pixels in (("PNG, 8 bits, predict", most), ("PNG, 8 bits, predict, a fifth more", 1.2 * most)):
        path = folder / "p.png"
        png(path, int(pixels**0.5), 8)
        yield name, path


def volumes(folder, memory, per_voxel):
    """NIfTI volumes of the most voxels that fit into so much memory, about, and of a fifth more, by name."""
    slices = int(memory / per_voxel / 1e6 * 0.97)
    for more, count in (("", slices), (", a fifth more", slices * 6 // 5)):
        path = folder / "v.nii.gz"
        nifti(path, (1000, 1000, count), "u8")
        yield more, path


def frames(folder, limit):
    """JPEG 2000 frames of the most pixels that are decoded within a limit, about, and of a fifth more, by name."""
    for more, share in (("", 1.0), (", a fifth more", 1.2)):
        path = folder / "f.dcm"
        jpeg2000(path, int((share * 0.95 * limit / JPEG2000_BYTES) ** 0.5))
        yield f"DICOM, JPEG 2000, one frame{more}", path


def predict(path):
    return ["predict", "--point", "9,9", "-o", str(path.with_suffix(".mask.png"))]


def peak(program, path, limit, verb=("info", "--json")):
    """Exit status, peak of resident memory in bytes, CPU seconds and the first line of the message, by a process in
    between that reports what its only child used."""
    code = (
        "import resource, subprocess, sys;"
        "r = subprocess.run(sys.argv[1:], capture_output=True, timeout=%d);"
        "u = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(r.returncode, u.ru_maxrss * 1024, u.ru_utime + u.ru_stime);"
        "print(r.stderr.decode(errors='replace').split(chr(10))[0])" % MAX_SECONDS
    )
    command = [sys.executable, "-c", code, program, *verb, "--max-memory", limit, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return "time", 0, MAX_SECONDS, ""
    first, message = done.stdout.split("\n")[:2]
    status, size, seconds = first.split()
    return int(status), int(size), float(seconds), message


def upload(program, folder, path, limit):
    """As [`peak`]: the server, with this as its largest file, gets an upload."""
    command = [program, "serve", str(folder), "--port=0", "--json", "--quiet", f"--max-file={limit >> 20}"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    text = "".join(iter(server.stdout.readline, "}\n")) + "}"
    place = json.loads(text)["address"].split("//")[1].rstrip("/")

    def send(method, target, body=None, headers=()):
        connection = http.client.HTTPConnection(place, timeout=MAX_SECONDS)
        connection.request(method, target, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()

    session = json.loads(send("POST", "/api/sessions")[1])["session"]
    with open(path, "rb") as body:
        status, message = send("PUT", f"/api/uploads?name={path.name}", body.read(), {"X-Session": session}.items())
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    most = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    ticks = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    server.terminate()
    server.wait(timeout=30)
    seconds = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return {200: 0, 413: 1, 422: 1}.get(status, status), most, seconds, message.decode()


def row(program, name, path, limit, verb):
    """Prints a row; whether the promise was kept."""
    if verb is upload:
        status, most, seconds, message = upload(program, path.parent / "served", path, LIMITS[limit])
    else:
        status, most, seconds, message = peak(program, path, limit, verb)
    result = {0: "read", 1: "refused"}.get(status, str(status))
    kept = most <= ALLOWED[0] * LIMITS[limit] + ALLOWED[1] and status in (0, 1)
    if not kept:
        result += " (too much)"
    size = path.stat().st_size / 1e6
    print(f"| {name} | {size:.1f} MB | {limit} | {result} | {most / 1e6:.0f} MB | {seconds:.2f} s |", flush=True)
    if status == 1 and "limit" not in message:
        print(f"  {message}", file=sys.stderr)
    return kept


def main():
    program = os.path.abspath(sys.argv[1])
    kept = []
    print("| format | file | limit | result | peak | CPU time |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "served").mkdir()
        for megabytes in (1, 10):
            for name, path in worst(Path(folder), megabytes):
                kept += [row(program, name, path, limit, ("info", "--json")) for limit in LIMITS]
                kept += [row(program, f"{name}, uploaded", path, limit, upload) for limit in LIMITS]
                path.unlink()
        for limit, number in LIMITS.items():
            for name, path in frames(Path(folder), number):
                kept.append(row(program, name, path, limit, ("info", "--json")))
                path.unlink()
            mask = ["--point", "9,9,9", "-o", str(Path(folder) / "mask.nii.gz")]
            answered = number * 5 // 4 + ROOM_BYTES
            for verb, per_voxel in ((["predict"], VOXEL_BYTES), (["predict", "--volume"], CARRIED_VOXEL_BYTES)):
                for more, path in volumes(Path(folder), answered, per_voxel):
                    kept.append(row(program, f"NIfTI, {' '.join(verb)}{more}", path, limit, [*verb, *mask]))
                    path.unlink()
            for more, path in volumes(Path(folder), number, 4):
                kept.append(row(program, f"NIfTI that fits, uploaded{more}", path, limit, upload))
                path.unlink()
            for name, path in pictures(Path(folder), number):
                kept.append(row(program, name, path, limit, predict(path)))
                path.unlink()
    return kept.count(False)


if __name__ == "__main__":
    sys.exit(main())
