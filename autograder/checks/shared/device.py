"""A check that new tensors are on the device of the input."""

from typing import Any

from autograder.checks.vocabulary import expect
from autograder.protocol.remote import Raised, RemoteObject


def expect_follows_input(called: RemoteObject, *args: Any, name: str) -> None:
    """Expect no new tensor on the CPU if the input and the model are on another device.

    The submission itself reports the device: no returned number could show it. Code that cannot run
    without numbers, such as a branch on a tensor's value, passes.

    Args:
        called: The function or method.
        args: What to call it with.
        name: Its name, for the message.

    Raises:
        CheckFailed: If one is made on the CPU.
    """
    says = f"`{name}` creates a tensor on the CPU even if its input is on another device: on a GPU "
    ask = "Which device should a new tensor be on?"
    try:
        stayed = called.call_on_meta_device(*args)
    except Raised as error:
        clash = error.kind == "DeviceError"
        where = f" on line {error.line} of its cell, `{error.code}`" if error.code else ""
        expect(not clash, f"{says}it fails{where}. {ask}", "wrong_device")
        called(*args)  # an error that occurs here too is not about devices
        return
    expect(not stayed, f"{says}its result stays on the CPU. {ask}", "wrong_device")
