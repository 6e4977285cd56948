"""The one way in which a worker stops answering."""


class Ended(Exception):  # noqa: N818 - an outcome of the submission, not an error of ours
    """The worker is no more.

    Attributes:
        status: "timeout", "crashed", or the limit that was used up: "memory", "cpu", "processes",
            "disk" or "output".
    """

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status
