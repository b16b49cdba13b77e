#!/usr/bin/env python3
"""Runs the commands of docs/tutorial.md as they are written, in an empty folder, and keeps the pictures that it shows.

    python3 docs/make_tutorial.py target/release/synthfm              # writes docs/tutorial/*.png
    python3 docs/make_tutorial.py target/release/synthfm --check      # runs them, and compares nothing
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGE = (DOCS / "tutorial.md").read_text()


def main():
    program, *options = sys.argv[1:]
    if options not in ([], ["--check"]):
        sys.exit(__doc__)
    commands = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) for line in block.splitlines()]
    pictures = re.findall(r"!\[.*?\]\(tutorial/(.*?)\)", PAGE)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "bin").mkdir()
        (work / "bin/synthfm").symlink_to(Path(program).resolve())
        home = work / "tutorial"
        home.mkdir()
        environment = {**os.environ, "PATH": f"{work}/bin:{os.environ['PATH']}"}
        for command in commands:
            done = subprocess.run(["bash", "-c", command], cwd=home, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"failed: {command}\n{done.stderr}")
        for name in pictures:
            if not (home / name).stat().st_size:
                sys.exit(f"failed: {name} is empty")
            if options == ["--check"]:
                if not (DOCS / "tutorial" / name).exists():
                    sys.exit(f"failed: docs/tutorial/{name} is missing: run python3 docs/make_tutorial.py {program}")
            else:
                shutil.copyfile(home / name, DOCS / "tutorial" / name)
    print(f"tutorial: {len(commands)} commands, {len(pictures)} pictures")


if __name__ == "__main__":
    main()
