"""A check that new tensors are made where the input lies."""

from typing import Any

from autograder.checks.vocabulary import expect
from autograder.protocol.remote import Raised, RemoteObject


def expect_follows_input(called: RemoteObject, *args: Any, name: str) -> None:
    """Expect no tensor on the CPU where the input, and the model, lie on another device.

    That the tensors followed is self-reported: no number that comes back could show it. What can't
    be tried without numbers, such as a branch on a tensor's value, is let pass.

    Args:
        called: The function or method.
        args: What to call it with.
        name: Its name, for the message.

    Raises:
        CheckFailed: If one is made on the CPU all the same.
    """
    says = f"`{name}` makes a tensor on the CPU, wherever its input lies: on a GPU "
    due = "Which device should a new tensor be on?"
    try:
        stayed = called.call_away(*args)
    except Raised as error:
        clash = error.kind == "DeviceError"
        where = f" on line {error.line} of its cell, `{error.code}`" if error.code else ""
        expect(not clash, f"{says}it stops{where}. {due}", "wrong_device")
        called(*args)  # what fails here too is no matter of devices
        return
    expect(not stayed, f"{says}it is left behind. {due}", "wrong_device")
