"""The program ``synthfm`` as a console script."""


def _main(argv=None):
    """Run the program with these arguments (by default the command line's) and return its exit code.

    The program handles Ctrl-C itself, as it does without Python.
    """
    import signal
    import sys

    from ._synthfm import run_program

    arguments = sys.argv[1:] if argv is None else list(argv)
    sys.stdout.flush()
    before = None
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:
        # Only the main thread may set handlers of signals.
        pass
    try:
        return run_program(["synthfm", *arguments])
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
