"""Makes the arrays in crates/synthfm-serve/tests/fixtures/nnia with nnInteractive's own client.

    pip install nninteractive-client==2.6.0 blosc2==4.14.1
    python3 tools/nnia_fixtures.py

The test computes the same values. Names: type, codec, filter, and what is special.
"""

from pathlib import Path

import blosc2
import numpy as np
from nnInteractive.inference.remote import serialization

FOLDER = Path(__file__).resolve().parent.parent / "crates/synthfm-serve/tests/fixtures/nnia"
ZSTD, LZ4 = blosc2.Codec.ZSTD, blosc2.Codec.LZ4
PLAIN, SHUFFLE = [blosc2.Filter.NOFILTER], [blosc2.Filter.SHUFFLE]


def steps(kind, shape):
    """Slow steps, as `steps` of the test: they compress well, and take several blocks."""
    at = np.arange(np.prod(shape))
    if kind in ("uint8", "bool"):
        return (at // 5 % 2).astype(kind).reshape(shape)
    return (at // 3 % 1000 - 500).astype(kind).reshape(shape)


def noise(shape):
    """Bytes that do not compress, as `noise` of the test."""
    at = np.arange(np.prod(shape), dtype=np.uint64)
    return ((at * at * 2654435761 >> 13) & 255).astype("uint8").reshape(shape)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    many = (1, 3, 50, 611)
    cases = [
        (f"{kind}_{name}_{filters_name}", steps(kind, many), codec, filters)
        for kind in ("int16", "float32", "float64", "uint8")
        for name, codec in (("zstd", ZSTD), ("lz4", LZ4))
        for filters_name, filters in (("plain", PLAIN), ("shuffle", SHUFFLE))
    ]
    cases += [
        (f"{kind}_zstd_shuffle", steps(kind, (1, 2, 3, 50)), ZSTD, SHUFFLE)
        for kind in ("bool", "int8", "int32", "int64", "float16")
    ]
    cases += [
        ("uint8_zstd_plain_zeros", np.zeros((5, 7, 9), "uint8"), ZSTD, PLAIN),
        ("uint8_zstd_shuffle_noise", noise((1, 10, 45, 90)), ZSTD, SHUFFLE),
        ("float32_zstd_shuffle_nan", np.full((1, 4, 50, 90), np.nan, "float32"), ZSTD, SHUFFLE),
    ]
    for name, array, codec, filters in cases:
        packed = serialization.pack_array(array, codec=codec, filters=filters, nthreads=1)
        assert np.array_equal(serialization.unpack_array(packed), array, equal_nan="float" in name)
        (FOLDER / f"{name}.nnia").write_bytes(packed)
    # Several chunks, which whole ones of 1 GiB would be in the wild.
    serialization._CHUNK_SIZE = 1 << 16
    packed = serialization.pack_array(steps("int16", many), codec=ZSTD, filters=SHUFFLE, nthreads=1)
    (FOLDER / "int16_zstd_shuffle_chunks.nnia").write_bytes(packed)


if __name__ == "__main__":
    main()
