"""The base class of errors that a user of a command can correct."""


class UserError(Exception):
    """An error in a command, its files or the course; the message says what to do.

    The command prints the message as one line, without a traceback.
    """
