"""Write an honest submission and a small checkpoint that loads as a large tensor."""

import torch


def place(path, honest, targets):
    path.write_bytes(honest)
    checkpoint = path.parent / "model.pt"
    torch.save(torch.zeros(1).expand(200_000, 200_000), checkpoint)
    assert checkpoint.stat().st_size < 2000
