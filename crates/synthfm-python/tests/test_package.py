"""The package: the console script, the import, stubs, and Ctrl-C."""

import ast
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import synthfm
from conftest import CONSOLE_SCRIPT, run


def python(code, **options):
    code = textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


def test_the_console_script_is_the_program(program, kidney, tmp_path):
    version = run(CONSOLE_SCRIPT, "--version").split()
    assert version == ["synthfm", synthfm.__version__]
    masks = []
    for name, ask in {"script": lambda *a: run(CONSOLE_SCRIPT, *a), "program": program}.items():
        out = tmp_path / f"{name}.png"
        ask("predict", kidney, "--point=129,247", "-o", out)
        masks.append(out.read_bytes())
    assert masks[0] == masks[1]


def test_usage_and_exit_codes(tmp_path):
    for arguments, code, stream, text in [
        (["--help"], 0, "stdout", "Usage: synthfm [OPTIONS] <COMMAND>"),
        (["predict"], 2, "stderr", "Usage: synthfm predict"),
        (["nonsense"], 2, "stderr", "unrecognized subcommand"),
        (["info", "absent.png"], 1, "stderr", "error: absent.png"),
        (["predict", "absent.png", "--point=1,1", "-o", "-"], 2, "stderr", "try '--help'"),
    ]:
        for command in ([CONSOLE_SCRIPT], [sys.executable, "-m", "synthfm"]):
            done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == code, (arguments, done)
            assert text in getattr(done, stream), (arguments, done)


def test_nothing_heavy_is_imported():
    done = python("import sys, synthfm; print(sorted({'numpy', 'torch', 'monai'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done


def test_everything_is_documented_and_typed():
    folder = Path(synthfm.__file__).parent
    assert (folder / "py.typed").exists()
    for name in synthfm.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(synthfm, name)), name
    stub = ast.parse((folder / "_synthfm.pyi").read_text())
    module = sys.modules["synthfm._synthfm"]
    for node in stub.body:
        if isinstance(node, ast.FunctionDef):
            compare(node, getattr(module, node.name))
        elif isinstance(node, ast.ClassDef) and hasattr(module, node.name):
            kind = getattr(module, node.name)
            members = {member.name: member for member in node.body if isinstance(member, ast.FunctionDef)}
            public = {name for name in vars(kind) if not name.startswith("_")}
            assert public <= set(members), (node.name, public - set(members))
            for name, member in members.items():
                found = kind if name == "__init__" else getattr(kind, name)
                if not callable(found) or name == "__iter__":
                    continue
                compare(member, found)


def compare(stub, function):
    """A stub's arguments are those of the function."""
    arguments = stub.args
    names = [argument.arg for argument in arguments.args + arguments.kwonlyargs if argument.arg not in ("self", "cls")]
    found = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    assert names == found, stub.name


def test_ctrl_c_ends_the_work(volume):
    path, values, _ = volume
    # 400 slices of 360 x 264 pixels, on which the disc has a radius of 60.
    deep = np.tile(values.repeat(6, axis=0).repeat(6, axis=1), (1, 1, 80))
    predictor = synthfm.Predictor()
    # A shell starts its background jobs with the signal ignored, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        predictor.segment_volume(deep, points=[(177, 117, 2)])
    assert time.perf_counter() - began < 2
    assert predictor.segment_volume(path, points=[(29, 19, 2)]).mask.any(), "the predictor is whole"


def test_other_threads_run_meanwhile(predictor, kidney):
    """The lock on the interpreter is released while the model computes."""
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    predictor.set_image(kidney)
    for _ in range(3):
        predictor.segment([(129, 247)])
    ended = time.perf_counter()
    stop.set()
    thread.join()
    during = sum(began < moment < ended for moment in ticks)
    assert during >= 10, f"{during} ticks in {ended - began:.3f} s"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_processes_are_told():
    done = python(
        """
        import os, numpy as np, synthfm
        predictor = synthfm.Predictor()
        predictor.set_image(np.zeros((40, 40), np.uint8))
        if (child := os.fork()) == 0:
            synthfm.generate({"size": {"height": 128, "width": 128}})
            try:
                predictor.set_image(np.zeros((40, 40), np.uint8))
            except synthfm.UsageError as error:
                os._exit(0 if "spawn" in str(error) else 3)
            os._exit(4)
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        timeout=60,
    )
    assert done.returncode == 0, done
