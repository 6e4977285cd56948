"""The progress bar: shown in a terminal and a live notebook, nothing elsewhere."""

import io
import subprocess
import sys

import nbformat
import torch
from nbclient import NotebookClient

from vae_utils import progress, progress_bar

LOOP = """
from vae_utils import progress
bar = progress(range(3), "epochs")
for epoch in bar:
    bar.show(loss=1.0 / (epoch + 1))
print("done")
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_on_stderr_in_a_headless_run():
    run = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, text=True, check=True)
    assert run.stdout == "done\n"
    assert run.stderr == ""


def test_nothing_in_an_executed_notebook(monkeypatch):
    for name in progress_bar.LIVE_NOTEBOOK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LOOP)])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    assert [(output.output_type, output.get("name")) for output in outputs] == [
        ("stream", "stdout")
    ]
    assert outputs[0].text == "done\n"


def test_a_terminal_shows_the_loss(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_bar, "_runs_in_kernel", lambda: False)
    bar = progress(range(3), "epochs")
    for _ in bar:
        bar.show(loss=torch.tensor(119.23456))
    assert "epochs" in terminal.getvalue()
    assert "loss 119.2" in terminal.getvalue()


def test_items_are_yielded_unchanged():
    batches = [(torch.rand(2), torch.rand(2)) for _ in range(3)]
    bar = progress(batches)
    assert len(bar) == 3
    assert all(a is b for a, b in zip(bar, batches, strict=True))


def test_a_headless_run_reads_no_loss():
    class Unreadable:
        def __float__(self):
            raise AssertionError("the loss was read, and a GPU would have to wait")

    bar = progress(range(2))
    for _ in bar:
        bar.show(loss=Unreadable())


def test_a_live_notebook_is_distinguished_from_an_executed_one(monkeypatch):
    monkeypatch.setattr(progress_bar, "_runs_in_kernel", lambda: True)
    for name in progress_bar.LIVE_NOTEBOOK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert progress_bar.output_place() == "headless"
    monkeypatch.setenv("JPY_SESSION_NAME", "notebook.ipynb")
    assert progress_bar.output_place() == "notebook"
