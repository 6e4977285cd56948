"""The exception for a worker that has ended."""


class Ended(Exception):  # noqa: N818 - a result of the submission, not an error of the judge
    """The worker has ended or was stopped at a limit.

    Attributes:
        status: "timeout", "crashed", or the limit that was exceeded: "memory", "cpu", "processes",
            "disk" or "output".
    """

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status
