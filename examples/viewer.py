"""Marks an object in a volume through `synthfm serve`, with nnInteractive's own client as viewers use it.

    pip install nninteractive-client nibabel
    synthfm serve
    python3 examples/viewer.py http://127.0.0.1:1527 scan.nii.gz --point 210,180,40 --out mask.nii.gz

Voxels are in the order of the file's axes, counted from 0. The key of a server that asks for one: --key.
"""

import argparse

import nibabel
import numpy as np
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession


def voxel(text):
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("image", help="a NIfTI file")
    parser.add_argument("--point", type=voxel, action="append", required=True, metavar="I,J,K")
    parser.add_argument("--negative", type=voxel, action="append", default=[], metavar="I,J,K")
    parser.add_argument("--one-slice", action="store_true", help="do not carry the mask through the volume")
    parser.add_argument("--out", required=True)
    parser.add_argument("--key")
    args = parser.parse_args()

    image = nibabel.load(args.image)
    values = np.asarray(image.dataobj)
    mask = np.zeros(values.shape, np.uint8)
    with nnInteractiveRemoteInferenceSession(args.address, api_key=args.key) as session:
        session.set_image(values[None], {"spacing": [float(v) for v in image.header.get_zooms()]})
        session.set_target_buffer(mask)
        session.set_do_autozoom(not args.one_slice)
        for point in args.point:
            session.add_point_interaction(point, include_interaction=True)
        for point in args.negative:
            session.add_point_interaction(point, include_interaction=False)
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), args.out)
    print(f"{np.count_nonzero(mask)} voxels in {args.out}")


if __name__ == "__main__":
    main()
