"""A structure through a volume, without a predictor at hand."""


def segment_volume(image, points=None, labels=None, box=None, mask=None, *, model=None, device="auto", **options):
    """Segment a structure through a volume with a model of its own; see :meth:`synthfm.Predictor.segment_volume`.

    For several structures or volumes, make one :class:`synthfm.Predictor`: reading a model takes time.
    """
    from ._synthfm import Predictor

    return Predictor(model, device).segment_volume(image, points, labels, box, mask, **options)
