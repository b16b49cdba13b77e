"""Loaders of PyTorch, and what MONAI and TorchIO make of the samples. Each is skipped where its package is missing."""

import numpy as np
import pytest

import synthfm

CONFIG = {"size": {"height": 128, "width": 160}}
torch = pytest.importorskip("torch", reason="NOT CHECKED: loaders, for PyTorch is not installed")


def dataset(**options):
    return synthfm.Dataset(CONFIG, seed=5, size=7, **options)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_same_samples(context):
    batches = {}
    for workers in (0, 2, 4) if context == "fork" else (2,):
        options = {"multiprocessing_context": context} if workers else {}
        loader = torch.utils.data.DataLoader(dataset(), batch_size=3, num_workers=workers, **options)
        batches[workers] = list(loader)
    expected = [synthfm.generate(CONFIG, 5, index) for index in range(7)]
    for workers, found in batches.items():
        assert [len(batch["image"]) for batch in found] == [3, 3, 1], workers
        for name in ("image", "label", "affine"):
            values = torch.cat([batch[name] for batch in found]).numpy()
            np.testing.assert_array_equal(values, np.stack([sample[name] for sample in expected]))
        assert sum((batch["modality"] for batch in found), []) == [sample["modality"] for sample in expected]


def test_streams_give_every_sample_once():
    for workers in (0, 2, 4):
        stream = dataset(masks=True).stream()
        assert isinstance(stream, torch.utils.data.IterableDataset)
        loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers)
        found = {sample["index"]: sample for sample in loader}
        assert sorted(found) == list(range(7))
        for index, sample in found.items():
            np.testing.assert_array_equal(sample["masks"], synthfm.generate(CONFIG, 5, index)["masks"])


def test_monai_takes_samples():
    monai = pytest.importorskip("monai", reason="NOT CHECKED: MONAI is not installed")
    from monai.transforms import Compose, RandFlipd, ScaleIntensityd, ToTensord

    keys = ["image", "label"]
    steps = [ToTensord(keys, track_meta=True), RandFlipd(keys, prob=1, spatial_axis=1), ScaleIntensityd("image")]
    samples = dataset(transform=Compose(steps))
    loader = monai.data.DataLoader(samples, batch_size=2)
    batch = next(iter(loader))
    assert batch["image"].shape == (2, 1, 128, 160)
    plain = np.stack([synthfm.generate(CONFIG, 5, index)["label"] for index in (0, 1)])
    np.testing.assert_array_equal(np.asarray(batch["label"]), plain[..., ::-1])


def test_torchio_takes_samples():
    torchio = pytest.importorskip("torchio", reason="NOT CHECKED: TorchIO is not installed")
    sample = dataset()[2]
    subject = torchio.Subject(
        image=torchio.ScalarImage(tensor=sample["image"][..., None], affine=sample["affine"]),
        label=torchio.LabelMap(tensor=sample["label"][..., None], affine=sample["affine"]),
    )
    assert subject.spatial_shape == (128, 160, 1) and subject.spacing == (1, 1, 1)
    flipped = torchio.RandomFlip(axes=0, flip_probability=1)(subject)
    np.testing.assert_array_equal(flipped["label"].numpy()[..., 0], sample["label"][:, ::-1])
