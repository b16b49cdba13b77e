"""Drives `synthfm serve` with the programs that viewers use: nnInteractive's client, ITK-SNAP's requests, osam's.

    pip install nninteractive-client httpx numpy            # also 2.5.1
    python3 tools/viewer_clients.py target/release/synthfm [--timing]

Masks must arrive at the right voxels of anisotropic volumes in both orders of their axes; sessions must be limited, end and
free their memory; what the model cannot do must be refused. `../shared/data/real-dev` gives a real volume where it is there.
With osam installed its own types check the answers. `--timing` prints how long a large CT takes.
"""

import argparse
import base64
import gzip
import importlib.metadata
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
from nnInteractive.inference.remote import (
    ServerAtCapacityError,
    SessionExpiredError,
    nnInteractiveRemoteInferenceSession,
)
from nnInteractive.inference.remote.serialization import pack_array

REAL = Path(__file__).resolve().parent.parent.parent / "shared/data/real-dev/Dataset108_TotalsegCt"


class Server:
    """A running server; `port` and `url` say where."""

    def __init__(self, program, *options):
        self.work = tempfile.TemporaryDirectory()
        command = [program, "serve", "--port", "0", "--json", "--work", self.work.name, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=self.work.name)
        text = ""
        while not text.endswith("}\n"):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("failed: the server did not start")
            text += line
        said = json.loads(text)
        self.url, self.token = said["address"].rstrip("/"), said["token"]

    def memory(self):
        """Resident bytes in MiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) // 1024 for line in text.splitlines() if line.startswith("VmRSS"))

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        self.work.cleanup()
        return code


def check(holds, what):
    if not holds:
        raise SystemExit(f"failed: {what}")


def refused(call, status, part=""):
    """The call must be answered with that status."""
    try:
        call()
    except httpx.HTTPStatusError as error:
        text = error.response.json()["error"]
        check(error.response.status_code == status and part in text, f"{error.response.status_code} {text}")
        return
    raise SystemExit(f"failed: {status} {part} expected")


def dice(a, b):
    a, b = np.asarray(a) > 0, np.asarray(b) > 0
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def scene():
    """A noisy bright ellipsoid in 24 slices of 96 x 130, and where it is."""
    shape, centre, radii = (24, 96, 130), np.array([11, 40, 80]), np.array([7, 22, 30])
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    truth = (((at - centre) / radii) ** 2).sum(-1) < 1
    noise = np.random.default_rng(3).normal(0, 15, shape)
    return np.where(truth, 160, 60) + noise, truth, tuple(int(v) for v in centre)


def open_volume(session, image, spacing, buffer=np.uint8):
    session.set_image(image[None], {"spacing": spacing})
    check(session.original_image_shape == (1, *image.shape), session.original_image_shape)
    target = np.zeros(image.shape, buffer)
    session.set_target_buffer(target)
    return target


def whole_volume(server):
    """Points in both orders of the axes and in all types of numbers."""
    values, truth, centre = scene()
    orders = [((0, 1, 2), [3.0, 0.7, 0.7]), ((2, 1, 0), np.array([0.7, 0.7, 3.0])), ((1, 0, 2), None)]
    kinds = ["int16", "float32", "uint8", "float16", "float64", "uint16", "int32"]
    areas = []
    for number, kind in enumerate(kinds):
        axes, spacing = orders[number % 3]
        image = np.clip(values, 0, 255).astype(kind).transpose(axes)
        expected, at = truth.transpose(axes), [centre[axis] for axis in axes]
        with nnInteractiveRemoteInferenceSession(server.url) as session:
            target = open_volume(session, image, spacing, [np.uint8, bool, np.int32][number % 3])
            box = session.add_point_interaction(at, True)
            found = np.argwhere(target)
            inside = [[int(low), int(high) + 1] for low, high in zip(found.min(0), found.max(0))]
            check(all(a <= c and d <= b for (a, b), (c, d) in zip(box, inside)), f"{inside} leaves {box}")
            score = dice(target, expected)
            check(score > 0.85, f"{kind} {axes}: Dice {score:.3f}")
            areas.append(score)
    print(f"points in {len(kinds)} types and 3 orders of axes: Dice {min(areas):.3f} to {max(areas):.3f}")


def interactions(server):
    """Every interaction, undo, reset, and predictions that wait."""
    values, truth, (z, y, x) = scene()
    image = values.astype(np.int16)
    with nnInteractiveRemoteInferenceSession(server.url) as session:
        supported = session.supported_interactions
        check(supported["points"] and supported["lasso"] and not supported["bbox3d"], supported)
        check(session.license == "MIT OR Apache-2.0" and session.supports_undo, session.license)
        check(session.ping() and session.heartbeat() > 500, "ping and heartbeat")
        check(session.lease_status()["idle_timeout_seconds"] == 600, "lease status")
        refused(lambda: session.add_point_interaction((z, y, x), True), 400, "no image")
        target = open_volume(session, image, [3, 0.7, 0.7])

        # One slice alone, then the volume.
        session.set_do_autozoom(False)
        session.add_point_interaction((z, y, x), True)
        slices = np.flatnonzero(target.any((1, 2)))
        check(slices.tolist() == [z], f"without autozoom: slices {slices}")
        single = target.copy()
        check(dice(target[z], truth[z]) > 0.9, "the slice of the point")
        # A negative point where nothing is changes nothing.
        check(session.add_point_interaction((0, 0, 0), False) is None, "a negative point in the background")
        check(np.array_equal(target, single) and session.undo(), "it has changed something")
        check(session.undo() and not target.any() and not session.undo(), "undo of a point")
        session.set_do_autozoom(True)
        session.add_point_interaction((z, y, x), True)
        check(np.array_equal(target[z], single[z]) and dice(target, truth) > 0.85, "the volume of the point")
        first = target.copy()

        # A negative point takes away where it is, and undo brings it back.
        edge = np.argwhere(target[z]).max(0)
        negative = (z, int(np.flatnonzero(target[z].any(1)).max()), int(x))
        session.add_point_interaction(negative, False)
        check(target[negative] == 0, f"the negative point {negative} is inside; {edge}")
        check(session.undo() and np.array_equal(target, first), "undo of a negative point")

        session.reset_interactions()
        check(not target.any() and not session.undo(), "reset")

        # Prompts that wait.
        check(session._predict() is None, "a prediction of nothing")
        check(session.add_point_interaction((z, y, x), True, run_prediction=False) is None, "it was answered")
        check(session.add_point_interaction((z, y - 5, x + 5), True, run_prediction=False) is None, "it was answered")
        check(not target.any(), "nothing was asked for")
        check(session._predict() is not None and dice(target, truth) > 0.85, "the prediction")
        session.reset_interactions()

        # A 2-D box; what the model cannot do.
        rows, cols = np.flatnonzero(truth[z].any(1)), np.flatnonzero(truth[z].any(0))
        box = [[z, z + 1], [rows[0], rows[-1] + 1], [cols[0], cols[-1] + 1]]
        refused(lambda: session.add_bbox_interaction(box, False), 400, "not the object")
        refused(lambda: session.add_bbox_interaction([[z, z + 3], *box[1:]], True), 400, "three-dimensional")
        refused(lambda: session.add_bbox_interaction([[z, z], *box[1:]], True), 400, "empty")
        refused(lambda: session.add_point_interaction((99, 0, 0), True), 400, "outside")
        check(not target.any() and session._predict() is None, "what was refused is kept")
        session.add_bbox_interaction(box, True)
        check(dice(target, truth) > 0.85, f"the box: {dice(target, truth):.3f}")
        session.reset_interactions()

        # A box across another axis.
        session.set_do_autozoom(False)
        deep = np.flatnonzero(truth[:, :, x].any(1))
        session.add_bbox_interaction([[deep[0], deep[-1] + 1], [rows[0], rows[-1] + 1], [x, x + 1]], True)
        check(not np.delete(target, x, axis=2).any(), "the box across the last axis leaves its slice")
        check(dice(target[:, :, x], truth[:, :, x]) > 0.8, f"it: {dice(target[:, :, x], truth[:, :, x]):.3f}")
        session.set_do_autozoom(True)
        session.reset_interactions()

        # A scribble in a part of the image, one over the whole image, a lasso, and one that takes away.
        scribble = np.zeros((1, 30, 40), np.uint8)
        scribble[0, 14:17, 5:35] = 1
        part = [[z, z + 1], [y - 15, y + 15], [x - 20, x + 20]]
        session.add_scribble_interaction(scribble, True, interaction_bbox=part)
        check(dice(target, truth) > 0.85, f"the scribble: {dice(target, truth):.3f}")
        first = target.copy()
        beside = np.zeros(image.shape, np.uint8)
        beside[z, y - 1 : y + 2, x + 32 : x + 45] = 1
        session.add_scribble_interaction(beside, False)
        check(not target[beside > 0].any() and dice(target, truth) > 0.8, "the scribble beside")
        refused(lambda: session.add_scribble_interaction(beside[:5], True), 400, "is expected")
        refused(lambda: session.add_scribble_interaction(np.zeros_like(beside), True), 400, "nothing is drawn")
        outside = [[z, z + 1], [90, 120], [0, 40]]
        refused(lambda: session.add_lasso_interaction(scribble, True, interaction_bbox=outside), 400, "outside")
        session.reset_interactions()
        lasso = np.zeros(image.shape, bool)
        lasso[z] = truth[z]
        session.add_lasso_interaction(lasso, True)
        check(dice(target, truth) > 0.85, f"the lasso: {dice(target, truth):.3f}")
        bite = np.zeros(image.shape, np.uint8)
        bite[z, : y - 10] = 1
        session.add_lasso_interaction(bite, False)
        check(not target[bite > 0].any() and target[z].any(), "the lasso that takes away")
        check(session.undo() and target[z, : y - 10].any(), "undo of it")

        # Where the object is over, it and what was carried from there on go.
        last = int(np.flatnonzero(truth.any((1, 2)))[-1])
        before, over = target.copy(), np.zeros(image.shape, np.uint8)
        over[last + 1] = 1
        session.add_lasso_interaction(over, False)
        check(not target[last + 1 :].any(), "masks behind the end")
        check(np.array_equal(target[: z + 1], before[: z + 1]), "the other end has changed")

        # An initial segmentation replaces everything, and is corrected slice by slice.
        start = truth.copy()
        start[z, :, : x - 5] = False
        session.add_initial_seg_interaction(start.astype(np.uint8))
        check(np.array_equal(target > 0, start), "the initial segmentation")
        session.add_point_interaction((z, y, x - 15), True)
        check(target[z, y, x - 15] == 1, "the correction of it")
        others = np.arange(image.shape[0]) != z
        check(np.array_equal(target[others] > 0, start[others]), "the correction changed other slices")
        refused(lambda: session.add_initial_seg_interaction(start[:1]), 400, "is expected")
        # The client has put its own mask into its buffer before it asked.
        refused(lambda: session.set_target_buffer(np.zeros((3, 4, 5), np.uint8)), 400, "for an image of")
    print("all interactions, undo, reset, waiting predictions, refusals")


def single_slices(server):
    """Pictures and flat volumes."""
    values, truth, (z, y, x) = scene()
    for axis, shape in enumerate([(1, 96, 130), (96, 1, 130), (96, 130, 1)]):
        image = np.clip(values[z], 0, 255).astype(np.uint8).reshape(shape)
        at = [y, x]
        at.insert(axis, 0)
        with nnInteractiveRemoteInferenceSession(server.url) as session:
            target = open_volume(session, image, [1, 1, 1])
            session.add_point_interaction(at, True)
            check(dice(target.reshape(96, 130), truth[z]) > 0.9, f"a slice of {shape}")
    with nnInteractiveRemoteInferenceSession(server.url) as session:
        refused(lambda: session.set_image(np.zeros((3, 1, 8, 8), np.uint8)), 400, "one channel")
        refused(lambda: session.set_image(np.zeros((1, 1, 8, 8), np.complex64)), 400, "complex64")
        target = open_volume(session, np.zeros((4, 8, 9), np.float32), [1, 1, 1])
        session.add_point_interaction((1, 2, 3), True)
        nothing = np.full((1, 2, 8, 9), np.nan, np.float32)
        refused(lambda: session.set_image(nothing, {"spacing": [0, 1, 1]}), 400, "not finite")
    print("single slices across every axis, empty images")


def capacity(server):
    """Full, released, unknown, and two clients on one lease."""
    sessions = [nnInteractiveRemoteInferenceSession(server.url) for _ in range(2)]
    try:
        nnInteractiveRemoteInferenceSession(server.url)
        raise SystemExit("failed: more sessions than allowed")
    except ServerAtCapacityError as error:
        check("all 3 sessions" in str(error), error)
    with httpx.Client(base_url=server.url) as client:
        for _ in range(1000):
            answer = client.post("/claim")
            check(answer.status_code == 503 and answer.headers["Retry-After"] == "10", answer)
    values, truth, (z, y, x) = scene()
    target = open_volume(sessions[0], values.astype(np.int16), [3, 0.7, 0.7])
    sessions[0].set_do_autozoom(False)
    # Another client with the same token: requests come one after the other.
    headers = {"X-Lease-Token": sessions[0]._lease_token}
    body = {"coordinates": [z, y, x], "include_interaction": True}
    answers = []
    post = lambda: answers.append(httpx.post(f"{server.url}/add_point_interaction", json=body, headers=headers, timeout=300))
    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check([answer.status_code for answer in answers] == [200] * 4, answers)
    # The lease ends in one client while the other has it.
    sessions[0]._http.post("/release")
    for call in (sessions[0].heartbeat, sessions[0].lease_status, sessions[0].undo, lambda: sessions[0].set_image(values[None])):
        try:
            call()
            raise SystemExit("failed: an ended session answers")
        except SessionExpiredError as error:
            check("has ended" in str(error), error)
    for session in sessions:
        session.close()
    with nnInteractiveRemoteInferenceSession(server.url):
        pass
    print("limits: full, released, expired, shared")


def vanishing(server):
    """Clients that break off in the middle of an upload or of an answer leave nothing behind."""
    with nnInteractiveRemoteInferenceSession(server.url) as session:
        values, truth, (z, y, x) = scene()
        image = np.repeat(values.astype(np.int16), 5, axis=0)
        target = open_volume(session, image, [1, 1, 1])
        body = {"coordinates": [5 * z + 2, y, x], "include_interaction": True}
        headers = {"X-Lease-Token": session._lease_token}
        try:
            httpx.post(f"{server.url}/add_point_interaction", json=body, headers=headers, timeout=0.15)
        except httpx.TimeoutException:
            check(not session.undo(), "what nobody heard was kept")
        def part():
            yield pack_array(image[None])[:5000]
            raise ConnectionAbortedError
        headers["X-Meta"] = "{}"
        try:
            httpx.post(f"{server.url}/set_image", content=part(), headers=headers)
        except ConnectionAbortedError:
            pass
        session.add_point_interaction((5 * z + 2, y, x), True)
        check(dice(target[5 * z + 2], truth[z]) > 0.9 and target[5 * z].any(), "the image of before")
    print("clients that vanish")


def memory(server):
    """Sessions that end, in either way, leave no memory behind."""
    image = np.zeros((1, 40, 512, 512), np.float32)
    image[0, :, 100:400, 150:350] = 100
    used = []
    for number in range(12):
        session = nnInteractiveRemoteInferenceSession(server.url)
        for _ in range(2):
            session.set_image(image)
        session.set_target_buffer(np.zeros(image.shape[1:], np.uint8))
        session.set_do_autozoom(False)
        session.add_point_interaction((number, 250, 250), True)
        session.close()
        used.append(server.memory())
    # An image has 50 MiB.
    check(max(used[6:]) < used[5] + 60, f"memory grows: {used} MiB")
    print(f"memory after sessions: {used[0]} MiB, after 12 of them {used[-1]} MiB")


def hostile(server):
    """Requests that no client sends."""
    with nnInteractiveRemoteInferenceSession(server.url) as session:
        headers = {"X-Lease-Token": session._lease_token}
        octets = {**headers, "X-Meta": json.dumps({"include_interaction": True})}
        huge = pack_array(np.zeros((1, 2, 3, 4), np.uint8))
        huge = huge[:13] + struct.pack("<4q", 1, 1 << 40, 1 << 40, 4) + huge[45:]
        for path, content, more, status in [
            ("/set_image", b"", octets, 400),
            ("/set_image", b"NNIA" + bytes(100), octets, 400),
            ("/set_image", huge, octets, 400),
            ("/set_image", os.urandom(100_000), octets, 400),
            ("/set_image", os.urandom(30_000_000), {"X-Lease-Token": "wrong"}, 410),
            ("/set_image", os.urandom(100_000), {}, 410),
            ("/set_image", pack_array(np.zeros((1, 2, 3, 4))), {**headers, "X-Meta": "{"}, 400),
            ("/add_lasso_interaction", huge, octets, 400),
            ("/add_point_interaction", b"{}", {**headers, "Content-Type": "application/json"}, 400),
            ("/add_point_interaction", b"[" * 100_000, {**headers, "Content-Type": "application/json"}, 400),
            ("/add_bbox_interaction", b'{"bbox_coords": [[1e300, 0], [0, 1], [0, 1]], "include_interaction": true}',
             {**headers, "Content-Type": "application/json"}, 400),
            ("/claim", b"", {"Origin": "http://evil.example"}, 403),
            ("/claim", b"", {"Host": "evil.example"}, 403),
        ]:  # fmt: skip
            answer = httpx.post(server.url + path, content=content, headers=more, timeout=60)
            check(answer.status_code == status, f"{path}: {answer.status_code} {answer.text}")
        image = np.zeros((1, 2, 3, 4), np.uint8)
        session.set_image(image)
        answer = httpx.get(f"{server.url}/capabilities", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
        check(answer.status_code == 403, "another site's link")
    print("hostile requests")


def itksnap(server):
    """The requests of ITK-SNAP, as the server of itksnap-dls 0.1.6 expects them."""
    values, truth, (z, y, x) = scene()
    shape = values.shape
    client = httpx.Client(base_url=server.url, timeout=60)
    check(client.get("/status").json()["status"] == "ok", "status")
    model = client.get("/v2/models").json()["models"][0]
    check(model["dimensions"] == 3 and "point" in model["interactions"], model)

    def send(path, array, **query):
        files = {"file": ("image.gz", gzip.compress(array.astype("<f4").tobytes(), 1), "application/octet-stream")}
        metadata = json.dumps({"dimensions": array.shape[::-1], "components_per_pixel": 1})
        return client.post(path, files=files, data={"metadata": metadata}, params=query)

    def mask(answer):
        check(answer.status_code == 200 and answer.json()["status"] == "success", answer.text[:200])
        voxels = np.frombuffer(gzip.decompress(base64.b64decode(answer.json()["result"])), np.int8)
        return voxels.reshape(shape)

    for start, prefix in (("/start_session", ""), (f"/v2/start_session/{model['id']}", "/v2")):
        session = client.get(start).json()["session_id"]
        check("message" in send(f"{prefix}/upload_raw/{session}", values).json(), "upload")
        where = {"point": [x, y, z]} if prefix else {"x": x, "y": y, "z": z}
        point = lambda **more: client.get(f"{prefix}/process_point_interaction/{session}", params={**where, **more})
        check(dice(mask(point(foreground="true")), truth) > 0.85, "a point")
        drawn = np.zeros(shape)
        drawn[z, y : y + 2, x - 15 : x + 15] = 1
        check(client.get(f"{prefix}/reset_interactions/{session}").json() == {"status": "success"}, "reset")
        scribble = mask(send(f"/process_scribble_interaction/{session}", drawn, foreground="true"))
        check(dice(scribble, truth) > 0.85, "a scribble")
        lasso = mask(send(f"/process_lasso_interaction/{session}", drawn, foreground="false"))
        check(not lasso[drawn > 0].any() and lasso[z].any(), "a lasso beside")
        check(client.get(f"{prefix}/end_session/{session}").json()["message"] == "Session ended", "the end")
        check(point().status_code == 410, "an ended session answers")
    print("ITK-SNAP: both versions of its requests")


def osam(server):
    """The request that labelme builds, sent as osam's server expects it."""
    try:
        import osam.types
        import PIL.Image
    except ImportError:
        print("SKIPPED: osam is not installed, so that its types did not check the answers")
        return
    values, truth, (z, y, x) = scene()
    picture = np.repeat(np.clip(values[z], 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, "PNG")
    rows, cols = np.flatnonzero(truth[z].any(1)), np.flatnonzero(truth[z].any(0))
    box = [[cols[0], rows[0]], [cols[-1], rows[-1]]]
    for points, labels in (([[x, y]], [1]), (box, [2, 3]), ([[x, y], [5, 5]], [1, 0])):
        prompt = osam.types.Prompt(points=np.array(points, float), point_labels=np.array(labels))
        request = osam.types.GenerateRequest(model="sam2:latest", prompt=prompt)
        body = json.loads(request.model_dump_json())
        body["image"] = base64.b64encode(file.getvalue()).decode()
        answer = httpx.post(f"{server.url}/api/generate", json=body, timeout=60)
        check(answer.status_code == 200, answer.text[:200])
        answer = answer.json()
        for annotation in answer["annotations"]:
            mask = PIL.Image.open(io.BytesIO(base64.b64decode(annotation["mask"])))
            annotation["mask"] = np.asarray(mask) > 0
        # osam's own types want boxes that fit their masks.
        response = osam.types.GenerateResponse.model_validate(answer)
        (found,) = response.annotations
        whole = np.zeros(truth[z].shape, bool)
        corner = found.bounding_box
        whole[corner.ymin : corner.ymax + 1, corner.xmin : corner.xmax + 1] = found.mask
        check(dice(whole, truth[z]) > 0.85, f"{labels}: {dice(whole, truth[z])}")
    print("osam: points and boxes, answers checked by its own types")


def keys(program):
    """A server with a key."""
    server = Server(program, "--api-key", "0123456789abcdef")
    try:
        check(httpx.get(f"{server.url}/healthz").json() == {"ok": True}, "healthz needs no key")
        refused(lambda: nnInteractiveRemoteInferenceSession(server.url), 401)
        refused(lambda: nnInteractiveRemoteInferenceSession(server.url, api_key="0123456789abcdeF"), 401)
        with nnInteractiveRemoteInferenceSession(server.url, api_key="0123456789abcdef") as session:
            check(session.heartbeat() > 0, "the right key")
    finally:
        check(server.stop() == 0, "the server's end")
    print("keys")


def read_nifti(path):
    """Values of a NIfTI file as its array lies in memory, the last axis the fastest, and their spacing."""
    data = gzip.decompress(path.read_bytes())
    dims, spacing = struct.unpack_from("<8h", data, 40)[1:4], struct.unpack_from("<8f", data, 76)[1:4]
    kind = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}[struct.unpack_from("<h", data, 70)[0]]
    offset = int(struct.unpack_from("<f", data, 108)[0])
    values = np.frombuffer(data, kind, int(np.prod(dims)), offset)
    return values.reshape(dims[::-1]), list(spacing[::-1])


def real_volume(server):
    if not REAL.is_dir():
        print(f"SKIPPED: {REAL} is not there, so that no real volume was tried")
        return
    for name in ("ct-sm", "ct"):
        image, spacing = read_nifti(REAL / f"imagesTs/{name}_0000.nii.gz")
        labels, _ = read_nifti(REAL / f"labelsTs/{name}.nii.gz")
        # The largest structure at the middle of its largest slice.
        values, counts = np.unique(labels[labels > 0], return_counts=True)
        truth = labels == values[counts.argmax()]
        z = int(truth.sum((1, 2)).argmax())
        rows, cols = np.flatnonzero(truth[z].any(1)), np.flatnonzero(truth[z].any(0))
        for axes in ((0, 1, 2), (2, 1, 0)):
            box = [[z, z + 1], [int(rows[0]), int(rows[-1]) + 1], [int(cols[0]), int(cols[-1]) + 1]]
            with nnInteractiveRemoteInferenceSession(server.url) as session:
                target = open_volume(session, image.transpose(axes), [spacing[axis] for axis in axes])
                began = time.monotonic()
                session.add_bbox_interaction([box[axis] for axis in axes], True)
                took = time.monotonic() - began
                found = target.transpose(axes)
                check(found[z].any(), "nothing was found")
                slices = np.count_nonzero(found.any((1, 2)))
                print(
                    f"real {name} {image.shape} as {axes}: Dice of the slice {dice(found[z], truth[z]):.3f}, of the volume "
                    f"{dice(found, truth):.3f}; {slices} slices in {took:.1f} s"
                )


def timing(server):
    """A CT of 512 x 512 x 100: from the call to an answered upload, to a slice, to the volume."""
    at = np.stack(np.meshgrid(np.arange(100), np.arange(512), np.arange(512), indexing="ij"))
    radius = np.sqrt(((at - np.array([50, 256, 256])[:, None, None, None]) / np.array([30, 90, 120])[:, None, None, None]) ** 2).max(0)
    noise = np.random.default_rng(0).normal(0, 12, radius.shape)
    body = np.sqrt(((at[1:] - 256) / np.array([200, 240])[:, None, None, None]) ** 2).sum(0) < 1.3
    image = (np.where(radius < 0.7, 120, np.where(body, 40, -1000)) + noise).astype(np.int16)
    for kind in (np.int16, np.float32):
        with nnInteractiveRemoteInferenceSession(server.url) as session:
            volume = image.astype(kind)
            began = time.monotonic()
            packed = pack_array(volume[None], nthreads=os.cpu_count())
            packing = time.monotonic() - began
            target = np.zeros(volume.shape, np.uint8)
            ready = []
            for _ in range(3):
                began = time.monotonic()
                session.set_image(volume[None], {"spacing": [2.5, 0.7, 0.7]})
                session.set_target_buffer(target)
                ready.append(time.monotonic() - began)
            session.set_do_autozoom(False)
            slices = []
            for index in range(30, 70, 2):
                began = time.monotonic()
                session.add_point_interaction((index, 256, 256), True)
                slices.append((time.monotonic() - began) * 1e3)
                check(target[index].any(), "no mask")
            session.reset_interactions()
            session.set_do_autozoom(True)
            began = time.monotonic()
            session.add_point_interaction((50, 256, 256), True)
            volume_s = time.monotonic() - began
            count = np.count_nonzero(target.any((1, 2)))
            print(
                f"{kind.__name__}: ready in {np.median(ready):.2f} s (of it {packing:.2f} s packing {len(packed) >> 20} MiB in "
                f"the client); a point's slice in {np.median(slices):.0f} ms (median of {len(slices)}, longest "
                f"{max(slices):.0f}); its volume, {count} slices, in {volume_s:.1f} s"
            )


def expiring(url, done):
    """A client that gives no sign of life for a minute."""
    session = nnInteractiveRemoteInferenceSession(url)
    session._stop_heartbeat.set()
    session._heartbeat_thread.join()
    session.set_image(np.zeros((1, 20, 200, 200), np.float32))
    time.sleep(61)
    try:
        session.lease_status()
        done.append("failed: a silent session lives on")
    except SessionExpiredError:
        done.append("a silent session has ended")
    session.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--timing", action="store_true", help="only print times")
    args = parser.parse_args()
    program = str(Path(args.program).resolve())
    version = importlib.metadata.version("nninteractive-client")
    print(f"nninteractive-client {version}")
    server = Server(program, "--sessions", "3")
    try:
        if args.timing:
            timing(server)
            return
        done = []
        waiting = threading.Thread(target=expiring, args=(server.url, done), daemon=True)
        waiting.start()
        time.sleep(1)
        capacity(server)
        whole_volume(server)
        interactions(server)
        single_slices(server)
        vanishing(server)
        memory(server)
        hostile(server)
        itksnap(server)
        osam(server)
        real_volume(server)
        waiting.join()
        check(done == ["a silent session has ended"], done)
        print(*done)
        keys(program)
    finally:
        code = server.stop()
    check(code == 0, f"the server ended with {code}")


if __name__ == "__main__":
    main()
