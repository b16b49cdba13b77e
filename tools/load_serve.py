"""Sends `synthfm serve` many requests at once: good, malformed, huge, slow, and such that try to leave the folder.

    python3 tools/load_serve.py target/release/synthfm --requests 10000

Good requests must be answered rightly: the same prompt always gives the same mask, slices and pages the same bytes,
counted steps come back. The server must not crash, files outside its folder must not change or show, and memory and
open files must not grow. Linux, Python 3.9 or newer, standard library alone.
"""

import argparse
import hashlib
import http.client
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

SECRET = b"this must not be seen"


def png(side, seed):
    """An 8-bit grey PNG of a disc in noise."""
    noise = random.Random(seed)
    lines = bytearray()
    for y in range(side):
        lines.append(0)
        for x in range(side):
            inside = (x - side * 0.5) ** 2 + (y - side * 0.45) ** 2 < (side * 0.25) ** 2
            lines.append((170 if inside else 60) + noise.randrange(30))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(lines))) + chunk(b"IEND", b"")
    )


def make_folder(root):
    """Cases inside `root/data`; a secret beside it, and links that lead to it."""
    data = root / "data"
    data.mkdir()
    for n in range(8):
        (data / f"case{n}.png").write_bytes(png(96 + 16 * n, n))
    (root / "secret.png").write_bytes(SECRET)
    (data / "link.png").symlink_to(root / "secret.png")
    (data / "up").symlink_to(root)
    return data


def tree(root, leave_out):
    """Hashes of all files below `root`."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and leave_out not in path.parents:
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class Server:
    def __init__(self, program, data):
        command = [program, "serve", str(data), "--port", "0", "--json", "--quiet", "--max-file", "4"]
        # Full after the first requests, so that what grows later is not this.
        command += ["--memory-cache", "16MiB"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        text = ""
        for line in self.process.stdout:
            text += line
            if line == "}\n":
                break
        address = json.loads(text)["address"]
        self.port = int(address.rstrip("/").rsplit(":", 1)[1])

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def raw(self, data, slow=0.0, wait=True, timeout=60):
        """Sends bytes as they are; gives the status, 0 where the server closed without an answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            try:
                if slow:
                    for n in range(0, len(data), max(1, len(data) // 4)):
                        connection.sendall(data[n : n + max(1, len(data) // 4)])
                        time.sleep(slow)
                else:
                    connection.sendall(data)
                if not wait:
                    return 0
                answer = connection.recv(65536)
            except (TimeoutError, ConnectionError):
                return 0
        return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.") else 0

    def memory_mib(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Worker(threading.Thread):
    """One client: a session with its own case, and a random stream of requests."""

    def __init__(self, server, number, cases, count):
        super().__init__()
        self.server, self.count = server, count
        self.random = random.Random(number)
        self.case = cases[number % len(cases)]
        self.path = f"/api/cases/{self.case['id']}"
        self.results, self.wrong, self.times = Counter(), [], []
        self.masks = {}
        self.headers = {"Content-Type": "application/json", "X-Session": self.ok("POST", "/api/sessions")["session"]}
        # Several clients share a case: only one of them may change it.
        self.owner = number < len(cases)
        if self.owner:
            details = self.ok("POST", f"{self.path}/open", {})
            self.side = details["planes"][0]["width"]

    def ok(self, method, path, body=None):
        status, answer = self.server.request(
            method, path, None if body is None else json.dumps(body), getattr(self, "headers", {})
        )
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {answer[:200]}")
        return json.loads(answer)

    def expect(self, kind, got, allowed):
        self.results[kind] += 1
        if got not in allowed:
            self.wrong.append(f"{kind}: {got}, expected {allowed}")

    def run(self):
        kinds = [self.predict] * 8 + [self.read] * 8 + [self.steps] * 2 + [self.malformed] * 6 + [self.escape] * 5
        kinds += [self.strangers] * 2 + [self.huge, self.slow, self.broken_off, self.sessions, self.upload]
        kinds += [self.vanish, self.deaf, self.trickle, self.reload]
        while self.count > 0:
            self.count -= 1
            try:
                self.random.choice(kinds)()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"no answer: {error!r}")

    def predict(self):
        if not self.owner:
            return self.read()
        # Few different prompts, so that most are asked several times.
        x, y = self.random.randrange(4) * self.side // 5 + 3, self.random.randrange(4) * self.side // 5 + 3
        body = {"structure": 1, "plane": "axial", "index": 0, "points": [[x, y]], "labels": [1], "commit": False}
        started = time.perf_counter()
        status, answer = self.server.request("POST", f"{self.path}/predict", json.dumps(body), self.headers)
        self.times.append(time.perf_counter() - started)
        self.expect("good: predict", status, {200})
        if status == 200:
            runs = json.loads(answer)["runs"]
            if self.masks.setdefault((x, y), runs) != runs:
                self.wrong.append(f"predict at {(x, y)} gave another mask")
            if sum(runs) != self.side**2:
                self.wrong.append("runs do not add up")

    def read(self):
        path = self.random.choice(
            [
                "/",
                "/js/app.js",
                "/api/info",
                "/api/cases",
                "/api/openapi.json",
                self.path,
                f"{self.path}/slice?plane=axial&index=0",
                f"{self.path}/masks?plane=axial&index=0",
                f"{self.path}/export?format=png",
                f"{self.path}/scores",
            ]
        )
        status, answer = self.server.request("GET", path)
        self.expect("good: read", status, {200})
        if "slice" in path or path.startswith("/js"):
            digest = hashlib.sha256(answer).hexdigest()
            if self.masks.setdefault(path, digest) != digest:
                self.wrong.append(f"{path} gave other bytes")

    def steps(self):
        """Three strokes and two undone: one more than before."""
        if not self.owner:
            return self.read()
        area = self.side**2
        for _ in range(3):
            start = self.random.randrange(area - 10)
            stroke = {"structure": 1, "plane": "axial", "index": 0, "mode": "add", "runs": [start, 5, area - start - 5]}
            last = self.ok("POST", f"{self.path}/edit", stroke)
        for _ in range(2):
            undone = self.ok("POST", f"{self.path}/undo", {})
        self.expect("good: steps", undone["revision"] - last["revision"], {2})
        self.ok("POST", f"{self.path}/clear", {"structure": 1})

    def malformed(self):
        body = self.random.choice(
            [
                "{",
                "[]",
                "null",
                '{"structure": "x"}',
                '{"structure": 1, "plane": "up", "index": 0}',
                '{"structure": 1, "plane": "axial", "index": -1}',
                "\x00\xff",
                '{"points": [[1e400, 0]]}',
                json.dumps({"structure": 1, "plane": "axial", "index": 0, "points": [[1e9, 0]], "labels": [1]}),
                json.dumps({"structure": 1, "plane": "axial", "index": 0, "box": [5, 5, 1, 1]}),
                json.dumps({"structure": 1, "plane": "axial", "index": 0, "mode": "add", "runs": [2**32 - 1] * 9}),
                "[" * 5000,
            ]
        )
        what = self.random.choice(["predict", "edit", "clear", "structures", "encode", "propagate", "state"])
        method = "PUT" if what == "structures" else "POST"
        headers = dict(self.headers) if self.random.random() < 0.8 else {"Content-Type": "text/html"}
        status, _ = self.server.request(method, f"{self.path}/{what}", body.encode("latin1"), headers)
        self.expect("malformed: JSON", status, {400, 409, 415})
        lines = self.random.choice(
            [
                b"\x16\x03\x01\x02\x00",
                b"GET\r\n\r\n",
                b"GET / HTTP/9.9\r\n\r\n",
                b"\r\n" * 50 + b"x\r\n\r\n",
                b"POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                bytes(self.random.randrange(256) for _ in range(300)) + b"\r\n\r\n",
            ]
        )
        self.expect("malformed: HTTP", self.server.raw(lines), {0, 400, 403, 505})

    def escape(self):
        step = self.random.choice(["..", "%2e%2e", "..%2f..", "....//", "%c0%ae%c0%ae", "..%5c..", "%252e%252e", "..;"])
        target = self.random.choice(["secret.png", "etc/passwd", "data/case0.png", "up/secret.png", "link.png"])
        start = self.random.choice(
            ["/", "/js/", "/api/cases/", "/api/cases/%00/", "//", self.path + "/", "/api/uploads/"]
        )
        path = start + f"{step}/" * self.random.randrange(1, 6) + target
        status, answer = self.server.request("GET", path)
        self.expect("escaping: path", status, {400, 404, 405})
        if SECRET in answer or b"root:" in answer:
            self.wrong.append(f"{path} showed a file outside the folder")
        name = self.random.choice(["../../x.png", "/tmp/x.png", "a%00b.png", "..%2f..%2fx.png", "%2e%2e.png"])
        status, _ = self.server.request("PUT", f"/api/uploads?name={name}", b"not an image", self.headers)
        self.expect("escaping: upload", status, {400, 413, 422})

    def strangers(self):
        for headers in (
            {"Host": "evil.example"},
            {"Origin": "http://evil.example"},
            {"Host": "localhost.evil.example:80"},
        ):
            status, _ = self.server.request("GET", "/api/cases", headers=headers)
            self.expect("strangers", status, {403})

    def huge(self):
        head = f"POST {self.path}/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Session: {self.headers['X-Session']}\r\n"
        status = self.server.raw(f"{head}Content-Length: {10**15}\r\n\r\n".encode() + b"9" * (5 << 20))
        self.expect("huge: body", status, {0, 400, 409, 413})
        status = self.server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: " + b"b" * (1 << 18) + b"\r\n\r\n")
        self.expect("huge: header", status, {0, 400, 431})
        status = self.server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 5000 + b"\r\n")
        self.expect("huge: headers", status, {0, 400, 431})
        upload = (
            f"PUT /api/uploads?name=a.png HTTP/1.1\r\nHost: localhost\r\nX-Session: {self.headers['X-Session']}\r\n"
        )
        status = self.server.raw(f"{upload}Content-Length: {10**12}\r\n\r\n".encode())
        self.expect("huge: upload", status, {413})
        bomb = png(8, 0)[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + png(8, 0)[24:]
        status, _ = self.server.request("PUT", "/api/uploads?name=bomb.png", bomb, self.headers)
        self.expect("huge: image", status, {413, 422})

    def slow(self):
        head = "POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.expect("slow: head", self.server.raw(head.encode(), slow=0.15), {200, 503})

    def broken_off(self):
        head = f"POST {self.path}/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
        self.expect("broken off", self.server.raw(head.encode(), wait=False), {0})

    def sessions(self):
        status, answer = self.server.request("POST", "/api/sessions")
        self.expect("sessions: start", status, {200, 503})
        if status == 200:
            session = json.loads(answer)["session"]
            self.expect("sessions: end", self.server.request("DELETE", f"/api/sessions/{session}")[0], {200})

    def send_and_leave(self, data, wait=0.0):
        """Sends bytes and closes the connection without reading, after a while."""
        with socket.socket() as connection:
            # A small buffer: the server finds soon that nobody takes what it sends.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(60)
            connection.connect(("127.0.0.1", self.server.port))
            connection.sendall(data)
            time.sleep(wait)

    def vanish(self):
        """Asks for something that takes a while, and is gone before the answer."""
        body = json.dumps({"structure": 1, "plane": "axial", "index": 0, "points": [[9, 9]], "labels": [1]})
        head = f"POST {self.path}/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.send_and_leave(f"{head}\r\n{body}".encode())
        whole = png(512, 1)
        head = f"PUT /api/uploads?name=a.png HTTP/1.1\r\nHost: localhost\r\nX-Session: {self.headers['X-Session']}\r\n"
        self.send_and_leave(f"{head}Content-Length: {len(whole)}\r\n\r\n".encode() + whole[: len(whole) // 2])
        self.results["vanished"] += 2

    def deaf(self):
        """Asks for much and takes nothing."""
        line = f"GET {self.path}/slice?plane=axial&index=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.send_and_leave(line.encode() * 50, wait=0.3)
        self.results["deaf"] += 1

    def trickle(self):
        """Sends an upload byte by byte, and gives up."""
        head = f"PUT /api/uploads?name=a.png HTTP/1.1\r\nHost: localhost\r\nX-Session: {self.headers['X-Session']}\r\nContent-Length: 1000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as connection:
            connection.sendall(head.encode())
            for _ in range(5):
                connection.sendall(b"x")
                time.sleep(0.05)
        self.results["trickled"] += 1

    def reload(self):
        """What a browser does when its page is loaded again: everything, a session, its events, and away."""
        for path in ("/", "/style.css", "/js/app.js", "/api/info", "/api/cases"):
            self.expect("reload: page", self.server.request("GET", path)[0], {200})
        status, answer = self.server.request("POST", "/api/sessions")
        self.expect("reload: session", status, {200, 503})
        if status == 200:
            session = json.loads(answer)["session"]
            line = f"GET /api/events?session={session} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            self.send_and_leave(line.encode(), wait=0.05)
            self.server.request("DELETE", f"/api/sessions/{session}")

    def upload(self):
        whole = png(64, 1)
        cut = whole[: self.random.randrange(len(whole))]
        status, _ = self.server.request("PUT", "/api/uploads?name=cut.png", cut, self.headers)
        self.expect("upload: cut", status, {400, 422})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="synthfm-load-") as folder:
        root = Path(folder).resolve()
        data = make_folder(root)
        work = data / "synthfm-annotations"
        server = Server(args.program, data)
        try:
            failed = load(server, args, root, work)
        finally:
            # Clients that hold on must not keep the server from ending.
            session = json.loads(server.request("POST", "/api/sessions")[1])["session"]
            head = f"PUT /api/uploads?name=a.png HTTP/1.1\r\nHost: localhost\r\nX-Session: {session}\r\nContent-Length: 9999\r\n\r\n"
            with socket.create_connection(("127.0.0.1", server.port)) as holding:
                holding.sendall(head.encode())
                started = time.perf_counter()
                server.process.terminate()
                code = server.process.wait(timeout=30)
                seconds = time.perf_counter() - started
        print(f"ended {seconds:.1f} s after the signal")
        if seconds > 6:
            failed.append(f"the server took {seconds:.1f} s to end")
        if code != 0:
            failed.append(f"the server ended with {code}")
    for line in failed[:20]:
        print(f"failed: {line}", file=sys.stderr)
    sys.exit(1 if failed else 0)


def load(server, args, root, work):
    before = tree(root, work)
    cases = json.loads(server.request("GET", "/api/cases")[1])["cases"]
    if len(cases) != 8:
        return [f"{len(cases)} cases are listed, 8 lie inside the folder"]

    def round_of(requests):
        # A method may send a few requests: workers count what they send.
        workers = [Worker(server, n, cases, requests // args.clients) for n in range(args.clients)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for worker in workers:
            server.request("DELETE", f"/api/sessions/{worker.headers['X-Session']}")
        return workers

    # A first round fills caches; memory is compared after it.
    started = time.perf_counter()
    first = round_of(args.requests // 4)
    time.sleep(1)
    memory, files = server.memory_mib(), server.open_files()
    second = round_of(args.requests - args.requests // 4)
    time.sleep(1)
    seconds = time.perf_counter() - started
    results = sum((worker.results for worker in first + second), Counter())
    wrong = [line for worker in first + second for line in worker.wrong]
    for kind, count in sorted(results.items()):
        print(f"{kind:20} {count:6}")
    times = sorted(time for worker in second for time in worker.times)
    print(f"{sum(results.values())} checked answers in {seconds:.0f} s by {args.clients} clients")
    print(
        f"prompts: median {1e3 * times[len(times) // 2]:.0f} ms, 95th percentile {1e3 * times[int(0.95 * len(times))]:.0f} ms"
    )
    after = [server.memory_mib(), server.open_files()]
    print(f"memory {memory:.0f} MiB after a quarter, {after[0]:.0f} MiB at the end; open files {files}, {after[1]}")
    if server.process.poll() is not None:
        wrong.append("the server has crashed")
    if after[0] > memory * 1.2 + 48:
        wrong.append(f"memory grew from {memory:.0f} to {after[0]:.0f} MiB")
    if after[1] > files + 4:
        wrong.append(f"open files grew from {files} to {after[1]}")
    if tree(root, work) != before:
        wrong.append("files outside the folder of annotations changed")
    leftovers = [path for path in (work / "uploads").rglob("*") if path.is_file()]
    if leftovers:
        wrong.append(f"refused uploads left {leftovers[:3]}")
    return wrong


if __name__ == "__main__":
    main()
