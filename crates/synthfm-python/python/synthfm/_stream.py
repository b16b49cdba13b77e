"""A data set as PyTorch's ``IterableDataset``. The only module that imports PyTorch."""

from torch.utils.data import IterableDataset, get_worker_info


class Stream(IterableDataset):
    """The samples of a :class:`synthfm.Dataset` in order; worker k of n gives samples k, k + n, k + 2 n, ..."""

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __iter__(self):
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return (self.dataset[index] for index in range(first, len(self.dataset), step))
