#!/usr/bin/env python3
"""Runs a notebook in an empty folder; fails where a cell does.

    python tools/run_notebook.py examples/quickstart.ipynb      # needs nbclient, ipykernel and what the notebook imports
"""

import sys
import tempfile

import nbclient
import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
with tempfile.TemporaryDirectory() as folder:
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}})
    client.execute()
outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
if any(output.output_type == "error" for output in outputs):
    sys.exit(f"failed: {sys.argv[1]}")
pictures = sum("image/png" in output.get("data", {}) for output in outputs)
print(f"{sys.argv[1]}: {len(notebook.cells)} cells, {pictures} pictures")
