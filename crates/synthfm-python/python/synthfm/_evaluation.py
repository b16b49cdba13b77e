"""Evaluation of models on real data sets with simulated prompts."""


def _flags(name, value):
    """The flags that an argument stands for."""
    import os

    flag = "--" + name.replace("_", "-")
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    if isinstance(value, (list, tuple)) and not all(isinstance(part, (int, float)) for part in value):
        return [f"{flag}={os.fspath(part) if hasattr(part, '__fspath__') else part}" for part in value]
    if isinstance(value, (list, tuple)):
        return [f"{flag}={','.join(str(part) for part in value)}"]
    return [f"{flag}={os.fspath(value) if hasattr(value, '__fspath__') else value}"]


def evaluate(data, model="embedded", *, out=None, **options):
    """Evaluate models on data sets, as ``synthfm evaluate`` does.

    :param data: a folder, or a list of them: nnU-Net v2, COCO, images with masks, or a public data set
    :param model: a model's file, folder or name, or a list; ``"disc"``, ``"flood-fill"`` and ``"random-walker"`` are
        baselines without a model
    :param out: folder for ``results.csv``, ``summary.json`` and ``report.html``; by default no report is kept
    :param options: the other flags of ``synthfm evaluate`` with underscores, such as ``prompts=["1,0", "box"]``,
        ``negatives="ring"``, ``seed=1``, ``save_masks=True``
    :returns: what ``synthfm evaluate --json`` prints: ``run`` (what was evaluated), ``lines`` (mean scores per model, data
        set and prompt setting; Dice and IoU from 0 to 1, distances in millimetres) and ``comparisons`` (tests between
        models)
    """
    import json
    import tempfile

    from ._synthfm import evaluate as run

    several = lambda value: list(value) if isinstance(value, (list, tuple)) else [value]
    flags = []
    for name, value in [("data", several(data)), ("model", several(model)), *options.items()]:
        flags += _flags(name, value)
    if out is not None:
        return json.loads(run([*flags, *_flags("out", out)]))
    with tempfile.TemporaryDirectory(prefix="synthfm-") as folder:
        return json.loads(run([*flags, f"--out={folder}/report"]))
