"""Writes an honest submission with a small file beside it that is not so small."""

import torch


def place(path, honest, targets):
    path.write_bytes(honest)
    there = path.parent / "model.pt"
    torch.save(torch.zeros(1).expand(200_000, 200_000), there)
    assert there.stat().st_size < 2000
