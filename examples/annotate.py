"""Annotates through `synthfm serve` with Python's standard library alone.

    synthfm serve examples/Dataset001_Example --port 8080
    python3 examples/annotate.py http://127.0.0.1:8080 fetal_head --box 222,120,632,467 --out head.png

The token of a server that asks for one: --token. /api/openapi.json describes all requests.
"""

import argparse
import json
import urllib.error
import urllib.request


class Server:
    """Requests with a session."""

    def __init__(self, address, token=None):
        self.address = address.rstrip("/")
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.headers["X-Session"] = self.call("POST", "/api/sessions")["session"]

    def bytes(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, self.headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=600) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            # The server says what was wrong in words.
            raise SystemExit(f"error: {json.load(error)['error']}") from None

    def call(self, method, path, body=None):
        return json.loads(self.bytes(method, path, body))

    def close(self):
        self.call("DELETE", f"/api/sessions/{self.headers['X-Session']}")


def numbers(text):
    return [float(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("case", help="part of the case's name")
    parser.add_argument("--point", type=numbers, action="append", default=[], metavar="X,Y")
    parser.add_argument("--negative", type=numbers, action="append", default=[], metavar="X,Y")
    parser.add_argument("--box", type=numbers, metavar="X0,Y0,X1,Y1")
    parser.add_argument("--plane", default="axial", choices=["axial", "coronal", "sagittal"])
    parser.add_argument("--slice", type=int, default=0)
    parser.add_argument("--format", help="default: png for a picture, nifti for a volume")
    parser.add_argument("--out", required=True)
    parser.add_argument("--token")
    args = parser.parse_args()

    server = Server(args.address, args.token)
    found = [case for case in server.call("GET", "/api/cases")["cases"] if args.case in case["name"]]
    if not found:
        raise SystemExit(f"error: no case has {args.case!r} in its name")
    path = f"/api/cases/{found[0]['id']}"
    case = server.call("POST", f"{path}/open", {})
    answer = server.call(
        "POST",
        f"{path}/predict",
        {
            "structure": case["structures"][0]["id"],
            "plane": args.plane,
            "index": args.slice,
            "points": args.point + args.negative,
            "labels": [1] * len(args.point) + [0] * len(args.negative),
            "box": args.box,
        },
    )
    area = sum(answer["runs"][1::2])
    print(f"{case['name']}: {area} pixels, estimated IoU {answer['iou']:.2f}, Dice {answer['slice_dice']}")
    format = args.format or ("png" if case["picture"] else "nifti")
    with open(args.out, "wb") as file:
        file.write(server.bytes("GET", f"{path}/export?format={format}"))
    server.close()


if __name__ == "__main__":
    main()
