#!/usr/bin/env python3
"""Writes docs/reference.md, every flag of every verb, from the program's own help.

    python3 tools/docs_reference.py target/release/synthfm            # writes it
    python3 tools/docs_reference.py target/release/synthfm --check    # fails if it is out of date
"""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"

START = """# Every flag

<!-- Made by tools/docs_reference.py from the program's own help: do not edit. -->

What `synthfm VERB --help` prints, for every verb. Results go to files and standard output, progress to standard error.
Exit codes: 0 done, 1 failed, 2 wrong usage. The form of prompts files is
[prompts.schema.json](prompts.schema.json); the forms of other files are described where they belong:
[generator.md](generator.md#files), [training.md](training.md#the-run-folder), [evaluation.md](evaluation.md).
"""


def help_of(program, *verbs):
    # The width of a page, whatever the terminal.
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run([program, *verbs, "--help"], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.rstrip() + "\n"


def verbs_of(text):
    """The verbs that a help text lists."""
    found = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.MULTILINE)
    return re.findall(r"^  ([a-z]+) ", found[1], re.MULTILINE) if found else []


def page(program):
    parts = [START]

    def add(verbs):
        text = help_of(program, *verbs)
        parts.append(f"\n{'#' * (2 + (len(verbs) > 1))} {' '.join(['synthfm', *verbs])}\n\n```text\n{text}```\n")
        for verb in verbs_of(text):
            add([*verbs, verb])

    add([])
    return "".join(parts)


def main():
    program, *options = sys.argv[1:]
    text = page(program)
    if options == ["--check"]:
        if PAGE.read_text() != text:
            sys.exit(f"failed: {PAGE} is out of date: run python3 tools/docs_reference.py {program}")
    elif options:
        sys.exit(__doc__)
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
