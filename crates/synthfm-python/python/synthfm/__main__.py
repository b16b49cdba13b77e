"""``python -m synthfm``: the program ``synthfm``."""

import sys

from ._program import _main

if __name__ == "__main__":
    sys.exit(_main())
