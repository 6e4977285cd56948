"""The marking app: a local web server that shows written answers and takes points."""

import asyncio
import contextlib
import hmac
import secrets
import signal
from collections.abc import Callable
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from autograder.marking.desk import Desk, has_changed, parsed_points
from autograder.marking.markdown import as_html
from autograder.records.errors import UserError
from autograder.records.text import printable

ADDRESS = "127.0.0.1"
COOKIE = "vaelab-mark"
MOST_COMMENT = 20_000

_templates = Environment(
    loader=ChoiceLoader([PackageLoader("autograder.marking"), PackageLoader("autograder.reports")]),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["markdown"] = as_html
_templates.filters["printable"] = printable


class Page(RequestHandler):
    """A page of the app; only the person who started it can open it."""

    def initialize(self, desk: Desk, token: str, names: bool) -> None:
        """Take the answers and the token.

        Args:
            desk: The answers.
            token: The secret of the address that the command prints.
            names: Whether to show the students' names.
        """
        self.desk, self.token, self.names = desk, token, names

    def set_default_headers(self) -> None:
        """Load nothing from elsewhere, run no script but the page's own, and be in no frame."""
        self.nonce = secrets.token_urlsafe(16)
        self.set_header(
            "Content-Security-Policy",
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{self.nonce}'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        )
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Refuse who does not have the token, and names of other hosts (DNS rebinding)."""
        if self.request.host_name not in (ADDRESS, "localhost"):
            raise HTTPError(403)
        given = self.get_query_argument("token", None)
        if given is not None:
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                raise HTTPError(403)
            self.set_cookie(COOKIE, self.token, httponly=True, samesite="Strict")
            self.redirect(self.request.path)
            return
        cookie = self.get_cookie(COOKIE, "") or ""
        if not hmac.compare_digest(cookie.encode(), self.token.encode()):
            raise HTTPError(403)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what to do."""
        text = {
            403: "Open the address that `vaelab mark` printed.",
            404: "There is no such page. Go back to the list of questions.",
        }.get(status_code, "The page cannot be shown. See the terminal of `vaelab mark`.")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {text}\n")

    def show(self, template: str, **values: Any) -> None:
        """Write a page from a template."""
        common = {"nonce": self.nonce, "assignment": self.desk.assignment, "names": self.names}
        text = _templates.get_template(template).render(**common, **values)
        self.write(text.encode("utf-8", "backslashreplace"))


class Overview(Page):
    """The list of questions, each with the number of marked answers."""

    def get(self) -> None:
        """Show it."""
        marks = self.desk.marks()
        rows = []
        for question in self.desk.questions:
            task = question.task
            of_question = [self.desk.answers[name, task] for name in self.desk.order[task]]
            points = [
                mark.points
                for answer in of_question
                if (mark := marks.get((answer.student, answer.task)))
            ]
            rows.append(
                {
                    "question": question,
                    "total": sum(bool(answer.text) for answer in of_question),
                    "marked": self.desk.marked(task),
                    "none": sum(not answer.text for answer in of_question),
                    "mean": sum(points) / len(points) if points else None,
                    "next": self.desk.next_open(task, 0) or 1,
                }
            )
        self.show("overview.html", rows=rows)


class Marking(Page):
    """One answer beside the rubric, and a form for its points."""

    def get(self, task: str, number: str) -> None:
        """Show it."""
        self._show(task, int(number))

    def post(self, task: str, number: str) -> None:
        """Keep the points; go to the next answer without a mark."""
        place = int(number)
        question, answer = self.desk.question(task), self.desk.answer(task, place)
        if question is None or answer is None:
            raise HTTPError(404)
        typed = self.get_body_argument("points", "")
        comment = self.get_body_argument("comment", "").replace("\r\n", "\n")[:MOST_COMMENT]
        if self.get_body_argument("answer", "") != answer.digest:
            problem = "The answer changed while you marked it. Read it again."
            self._show(task, place, problem, typed, comment)
            return
        try:
            self.desk.save(answer, parsed_points(typed, question.points), comment)
        except (ValueError, UserError) as error:
            self._show(task, place, str(error), typed, comment)
            return
        following = self.desk.next_open(task, place)
        self.redirect(f"/{task}/{following}" if following else "/", status=303)

    def _show(
        self, task: str, number: int, problem: str = "", typed: str = "", comment: str = ""
    ) -> None:
        question, answer = self.desk.question(task), self.desk.answer(task, number)
        if question is None or answer is None:
            raise HTTPError(404)
        marks = self.desk.marks()
        mark = marks.get((answer.student, task))
        total = len(self.desk.order[task])
        if problem:
            self.set_status(400)
        self.show(
            "answer.html",
            question=question,
            answer=answer,
            mark=mark,
            changed=mark is not None and has_changed(answer, mark),
            number=number,
            total=total,
            given=sum(bool(self.desk.answers[name, task].text) for name in self.desk.order[task]),
            marked=self.desk.marked(task),
            problem=problem,
            points=typed or (f"{mark.points:g}" if mark else "" if answer.text else "0"),
            comment=comment or (mark.comment if mark else ""),
            xsrf=Markup(self.xsrf_form_html()),
        )


def application(desk: Desk, token: str, *, names: bool = False) -> Application:
    """Return the app.

    Args:
        desk: The answers and where marks are kept.
        token: Who opens a page must have it, from the address that the command prints.
        names: Whether to show the students' names; they are hidden by default.
    """
    given = {"desk": desk, "token": token, "names": names}
    return Application(
        [(r"/", Overview, given), (r"/(\w+)/(\d{1,6})", Marking, given)],
        xsrf_cookies=True,
        xsrf_cookie_kwargs={"httponly": True, "samesite": "Strict"},
    )


def serve(desk: Desk, port: int, started: Callable[[str], None], *, names: bool = False) -> None:
    """Serve the app on this machine only, until it is interrupted or asked to end.

    Args:
        desk: The answers and where marks are kept.
        port: The port; 0 for any free one.
        started: Called with the address to open.
        names: Whether to show the students' names.

    Raises:
        UserError: If the port cannot be used.
    """
    token = secrets.token_urlsafe(16)

    async def run() -> None:
        try:
            sockets = bind_sockets(port, ADDRESS)
        except OSError as error:
            raise UserError(
                f"Port {port} cannot be used: {error.strerror}. Choose another one with --port."
            ) from error
        server = HTTPServer(application(desk, token, names=names))
        server.add_sockets(sockets)
        ended = asyncio.Event()
        with contextlib.suppress(NotImplementedError):  # not on Windows: Ctrl-C raises there
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
        started(f"http://{ADDRESS}:{sockets[0].getsockname()[1]}/?token={token}")
        await ended.wait()

    asyncio.run(run())
