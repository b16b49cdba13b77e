"""Drives napari with napari-nninteractive, connected to `synthfm serve`, on a display without a screen.

    pip install "napari[pyqt6]" napari-nninteractive
    xvfb-run -a python3 tools/napari_client.py target/release/synthfm     # Debian: xvfb libgl1-mesa-dri libxcb-cursor0

What the plugin's own controls do is called: Initialize, points on their layer, undo, next object. Run by hand.
"""

import sys
import time

import napari
import numpy as np
from napari_nninteractive import nnInteractiveWidget
from qtpy.QtWidgets import QApplication

from viewer_clients import Server, check, dice, scene


def wait(until, what, seconds=60):
    """Lets Qt work until something holds."""
    end = time.monotonic() + seconds
    while not until():
        check(time.monotonic() < end, f"{what} takes too long")
        QApplication.processEvents()
        time.sleep(0.01)


def main():
    server = Server(sys.argv[1])
    viewer = napari.Viewer(show=False)
    try:
        values, truth, (z, y, x) = scene()
        viewer.add_image(values.astype(np.int16), name="scan", scale=[3, 0.7, 0.7])
        widget = nnInteractiveWidget(viewer)
        viewer.window.add_dock_widget(widget)
        widget.server_url_edit.setText(server.url)
        widget.on_init()
        wait(lambda: widget.session is not None and widget.session.original_image_shape, "the upload")
        wait(lambda: widget.label_layer_name in viewer.layers, "the label layer")
        check(widget.session.license == "MIT OR Apache-2.0", widget.session.license)
        labels = lambda: np.asarray(viewer.layers[widget.label_layer_name].data)

        widget.interaction_button._check(0)
        widget.on_interaction_selected()
        points = viewer.layers[widget.point_layer_name]
        points.add([z, y, x])
        wait(lambda: labels().any(), "a point")
        score = dice(labels(), truth)
        check(score > 0.85, f"the point: {score}")
        widget.on_undo()
        check(not labels().any(), "undo")
        points.add([z, y, x])
        wait(lambda: labels().any(), "a point after undo")
        widget.on_next()
        check(not labels().any(), "the next object")
        check(not widget.session.undo(), "the next object remembers the one before")
        print(f"napari {napari.__version__}: connected, a point gives Dice {score:.3f}, undo, next object")
        widget._release_session()
    finally:
        viewer.close()
        server.stop()


if __name__ == "__main__":
    main()
