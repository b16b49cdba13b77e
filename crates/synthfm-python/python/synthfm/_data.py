"""Synthetic samples: one by one, or as a data set for a loader of PyTorch."""


def _generator(config):
    """The generator that a configuration means; a generator stays as it is."""
    from ._synthfm import Generator

    if isinstance(config, Generator):
        return config
    if config is None or isinstance(config, str) or hasattr(config, "__fspath__"):
        return Generator(config)
    import json

    return Generator.of_json(json.dumps(config))


def _with_grid(sample):
    """The sample with its grid: pixels of 1 mm."""
    import numpy

    sample["spacing"] = numpy.ones(2)
    sample["affine"] = numpy.eye(4)
    return sample


def generate(config=None, seed=0, index=0):
    """Draw sample ``index``: the same on every machine, and the same as ``synthfm generate`` draws.

    :param config: a preset's name (``any``, ``paper``, ``ct``, ``mr``, ``us``, ``xray``, ``micro``, ``retina``), the path of
        a TOML file, or a dictionary that changes the defaults, such as ``{"size": {"height": 256, "width": 256}}``
    :param seed: seed of the data set, from 0
    :param index: number of the sample, from 0
    :returns: a dictionary: ``image`` float32 ``[1, H, W]`` from 0 to 1; ``label`` int32 ``[1, H, W]``, targets numbered
        from 1, smaller ones on top; ``masks`` bool ``[N, H, W]``, each target whole; ``kinds``, a word for each target;
        ``modality`` and ``scene``, words; ``seed``; ``index``; ``spacing`` ``[2]`` and ``affine`` ``[4, 4]`` in
        millimetres (pixels of 1 mm)
    """
    return _with_grid(_generator(config).sample(seed, index, True))


def recipe(config=None, seed=0, index=0):
    """Everything that was drawn for sample ``index``, as a dictionary; the sample follows from it without chance."""
    import json

    return json.loads(_generator(config).recipe(seed, index))


class Dataset:
    """``size`` synthetic samples as a data set: ``dataset[i]`` is sample ``start + i``.

    Works as a map-style data set of PyTorch without PyTorch: sample i is the same in every worker, process and machine.
    :meth:`stream` is the same as an ``IterableDataset``. Samples are those of :func:`generate`; without ``masks``, all of
    them have the same shapes, so that loaders can stack them. MONAI takes ``image``, ``label`` and ``affine`` as they are;
    TorchIO wants ``[C, I, J, K]``: ``sample["image"][..., None]``.

    :param config: as in :func:`generate`
    :param seed: seed of the data set, from 0
    :param size: number of samples
    :param start: number of the first sample
    :param masks: also give ``masks`` and ``kinds``, whose length differs between samples
    :param transform: called with each sample; what it returns is the sample
    """

    def __init__(self, config=None, seed=0, size=1000, *, start=0, masks=False, transform=None):
        from ._errors import UsageError

        if size < 0 or start < 0 or seed < 0:
            raise UsageError(f"seed, size and start: numbers from 0 expected, got {seed}, {size} and {start}")
        self._generator = _generator(config)
        self.seed, self.size, self.start = int(seed), int(size), int(start)
        self.masks, self.transform = masks, transform

    @property
    def config(self):
        """The whole configuration of the generator, as a dictionary."""
        import json

        return json.loads(self._generator.to_json())

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index < 0:
            index += self.size
        if not 0 <= index < self.size:
            raise IndexError(f"sample {index} of {self.size}")
        sample = _with_grid(self._generator.sample(self.seed, self.start + index, bool(self.masks)))
        return sample if self.transform is None else self.transform(sample)

    def __iter__(self):
        return (self[index] for index in range(self.size))

    def stream(self):
        """The data set as a ``torch.utils.data.IterableDataset``, each worker with its share of the samples."""
        from ._stream import Stream

        return Stream(self)

    def __repr__(self):
        return f"Dataset(seed={self.seed}, size={self.size}, start={self.start})"
