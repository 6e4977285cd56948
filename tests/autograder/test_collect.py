"""Downloads of learning platforms become nbgrader's layout; nothing leaves the target folder."""

import io
import json
import os
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autograder.build.notebooks import reference, starter, to_text
from autograder.collecting import arrivals, choose
from autograder.collecting.arrivals import CollectError
from autograder.collecting.collect import (
    EARLIER,
    MISSING,
    OLDER,
    TAKEN,
    UNCHANGED,
    collect,
    folder_name,
)
from autograder.collecting.collected import read_collected, submission_times
from autograder.collecting.roster import match, read_roster
from autograder.grading.batch import find_submissions
from autograder.grading.helpers import MAX_HELPERS
from autograder.grading.notebook import MAX_SOURCE

A = "03_fc_vae"
FIRST, SECOND = to_text(starter(A)).encode(), to_text(reference(A)).encode()
OTHER = to_text(starter("04_cvae")).encode()
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "download"
    folder.mkdir()
    return folder


def put(folder: Path, path: str, content: bytes = SECOND, time: datetime = NOON) -> None:
    """Write a file with a time."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (time.timestamp(), time.timestamp()))


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a ZIP archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def run(source: Path, into: Path, roster=None):
    """Collect; return the entries by student, and the problems."""
    report = collect(source, A, into, roster)
    return {one.student: one for one in report.students}, report.problems


def taken(into: Path, student: str) -> bytes:
    """Return the collected notebook of a student."""
    return (into / student / A / f"{A}.ipynb").read_bytes()


NOTES = zipped({"notes.txt": b""})
CANVAS = "lovelaceada_12345_678_03_fc_vae.ipynb"
MOODLE = "Ada Lovelace_321_assignsubmission_file_"


@pytest.mark.parametrize(
    ("path", "student"),
    [
        (CANVAS, "lovelaceada"),
        ("lovelaceada_LATE_12345_678_03_fc_vae-2.ipynb", "lovelaceada"),
        ("lovelaceada_12345_678_my_work.ipynb", "lovelaceada"),
        (f"{MOODLE}/03_fc_vae.ipynb", "Ada Lovelace"),
        (f"{MOODLE}03_fc_vae.ipynb", "Ada Lovelace"),
        (f"{MOODLE}/deep/er/03_fc_vae (1).ipynb", "Ada Lovelace"),
        (f"ada/{A}/{A}.ipynb", "ada"),
        ("ada/homework.ipynb", "ada"),
        (f"ada+{A}+2026-11-29 10:11:12 UTC+0a1b/{A}.ipynb", "ada"),
    ],
)
def test_each_platform_names_the_student(source, tmp_path, path, student):
    put(source, path)
    found, problems = run(source, tmp_path / "in")
    assert list(found) == [student]
    assert problems == ()
    assert taken(tmp_path / "in", student) == SECOND
    assert found[student].state == TAKEN
    assert found[student].late == ("LATE" in path)
    (entry,) = find_submissions(tmp_path / "in", A)
    assert entry.student == student


@pytest.mark.parametrize(
    "files",
    [
        {"ada.zip": zipped({"x/03_fc_vae.ipynb": SECOND})},
        {"ada.zip": zipped({"work.zip": zipped({"03_fc_vae.ipynb": SECOND})})},
        {"ada/work.zip": zipped({"03_fc_vae.ipynb": SECOND, "__MACOSX/._03_fc_vae.ipynb": b"x"})},
        {"all.zip": zipped({f"ada/{A}/{A}.ipynb": SECOND, "bob/notes.txt": b""})},
        {"all.zip": zipped({"ada.zip": zipped({"03_fc_vae.ipynb": SECOND}), "b.zip": NOTES})},
        {"ada/.ipynb_checkpoints/03_fc_vae.ipynb": FIRST, "ada/03_fc_vae.ipynb": SECOND},
    ],
)
def test_archives_and_folders_are_searched(source, tmp_path, files):
    for path, content in files.items():
        put(source, path, content)
    found, problems = run(source, tmp_path / "in")
    assert found["ada"].state == TAKEN
    assert taken(tmp_path / "in", "ada") == SECOND
    assert problems == ()


def test_the_download_itself_may_be_an_archive(tmp_path):
    path = tmp_path / "submissions.zip"
    path.write_bytes(zipped({CANVAS: SECOND, "zuse_LATE_99_100_03_fc_vae.ipynb": FIRST}))
    found, _ = run(path, tmp_path / "in")
    assert set(found) == {"lovelaceada", "zuse"}
    assert found["zuse"].late


def test_a_gradescope_export_with_a_group(source, tmp_path):
    metadata = """
submission_1:
  :submitters:
  - :name: Ada Lovelace
    :sid: al1
    :email: ada@example.org
  - :name: Konrad Zuse
    :sid: kz2
  :created_at: 2026-11-29 08:00:00.000000000 Z
submission_2:
  :submitters:
  - :name: Grace Hopper
    :email: grace@example.org
"""
    put(source, "assignment_7_export/submission_metadata.yml", metadata.encode())
    put(source, "assignment_7_export/submission_1/03_fc_vae.ipynb")
    put(source, "assignment_7_export/submission_2/notebook.ipynb", FIRST)
    found, problems = run(source, tmp_path / "in")
    assert set(found) == {"al1", "kz2", "grace@example.org"}
    assert found["al1"].time == datetime(2026, 11, 29, 8, tzinfo=UTC)
    assert taken(tmp_path / "in", "kz2") == SECOND
    assert problems == ()
    put(source, "assignment_7_export/submission_metadata.yml", b"a: !!python/object:os.system []")
    with pytest.raises(CollectError, match="cannot be read"):
        collect(source, A, tmp_path / "in")


def test_the_latest_attempt_wins_and_earlier_ones_keep_their_times(source, tmp_path):
    put(source, CANVAS, b'{"cells": []}', NOON.replace(hour=9))
    put(source, "lovelaceada_12345_680_03_fc_vae-1.ipynb", FIRST, NOON.replace(hour=10))
    # The later file has the earlier number: the platform's number decides.
    put(source, "lovelaceada_LATE_12345_700_03_fc_vae-2.ipynb", SECOND, NOON.replace(hour=8))
    found, _ = run(source, tmp_path / "in")
    one = found["lovelaceada"]
    assert taken(tmp_path / "in", "lovelaceada") == SECOND
    assert (one.attempts, one.late) == (3, True)
    earlier = sorted(path.name for path in (tmp_path / "in/lovelaceada" / A / EARLIER).iterdir())
    assert earlier == ["2026-11-30T09-00-00Z.ipynb", "2026-11-30T10-00-00Z.ipynb"]
    assert "2 earlier attempts" in " ".join(one.notes)


def test_a_last_attempt_without_a_notebook_is_no_loss(source, tmp_path):
    put(source, CANVAS)
    put(source, "lovelaceada_12345_900_report-1.pdf", b"%PDF")
    found, _ = run(source, tmp_path / "in")
    assert taken(tmp_path / "in", "lovelaceada") == SECOND
    assert "The last attempt was not taken" in " ".join(found["lovelaceada"].notes)


def test_collecting_again_loses_nothing(source, tmp_path):
    into = tmp_path / "in"
    put(source, "ada/03_fc_vae.ipynb", FIRST, NOON)
    assert run(source, into)[0]["ada"].state == TAKEN
    assert run(source, into)[0]["ada"].state == UNCHANGED
    put(source, "ada/03_fc_vae.ipynb", SECOND, NOON.replace(hour=13))
    assert run(source, into)[0]["ada"].state == TAKEN
    assert taken(into, "ada") == SECOND
    (before,) = (into / "ada" / A / EARLIER).iterdir()
    assert (before.name, before.read_bytes()) == ("2026-11-30T12-00-00Z.ipynb", FIRST)
    put(source, "ada/03_fc_vae.ipynb", FIRST, NOON.replace(hour=11))
    assert run(source, into)[0]["ada"].state == OLDER
    assert taken(into, "ada") == SECOND
    assert len(list((into / "ada" / A / EARLIER).iterdir())) == 2
    assert run(source, into)[0]["ada"].state == OLDER
    assert len(list((into / "ada" / A / EARLIER).iterdir())) == 2


def test_a_download_of_some_students_forgets_nobody(source, tmp_path):
    """The table has the times and files of the others, also under a name like a formula."""
    put(source, "=1+1/03_fc_vae.ipynb", FIRST, NOON)
    put(source, "ada/03_fc_vae.ipynb", FIRST, NOON)
    run(source, tmp_path / "in")
    put(tmp_path / "late", "ada/03_fc_vae.ipynb", SECOND, NOON.replace(hour=13))
    found, _ = run(tmp_path / "late", tmp_path / "in")
    assert {name: one.state for name, one in found.items()} == {"=1+1": UNCHANGED, "ada": TAKEN}
    times = submission_times(tmp_path / "in", A)
    assert times("=1+1").time == NOON
    assert times("ada").time == NOON.replace(hour=13)
    assert read_collected(tmp_path / "in", A)["=1+1"].file == "=1+1/03_fc_vae.ipynb"


USES = SECOND.replace(b"import torch\\n", b"import torch, my_tools\\n", 1)


@pytest.mark.parametrize(
    "names",
    [
        ("ada/03_fc_vae.ipynb", "ada/my_tools.py", "ada/inner.py", "ada/other.py"),
        tuple(
            f"ada_12345_{number}_{name}"
            for number, name in enumerate(
                ("03_fc_vae.ipynb", "my_tools.py", "inner.py", "other.py"), 678
            )
        ),
    ],
)
def test_python_files_that_the_notebook_uses_come_with_it(source, tmp_path, names):
    into = tmp_path / "in"
    assert USES != SECOND
    for name, content in zip(names, (USES, b"import inner", b"x = 1", b"y = 2"), strict=True):
        put(source, name, content)
    assert "my_tools.py" in " ".join(run(source, into)[0]["ada"].notes)
    folder = into / "ada" / A
    assert {path.name for path in folder.iterdir()} == {f"{A}.ipynb", "my_tools.py", "inner.py"}
    put(source, names[1], b"import inner  # better", NOON.replace(hour=13))
    run(source, into)
    assert (folder / "my_tools.py").read_bytes() == b"import inner  # better"
    (kept,) = (folder / EARLIER).iterdir()
    assert (kept.name, kept.read_bytes()) == ("2026-11-30T12-00-00Z my_tools.py", b"import inner")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"ada/04_cvae.ipynb": OTHER}, "belongs to another assignment: 04_cvae"),
        ({"ada/03_fc_vae.ipynb": OTHER}, "belongs to another assignment: 04_cvae"),
        ({"ada/report.pdf": b"%PDF"}, "no notebook among the files: report.pdf"),
        ({"ada/a.ipynb": b"{}", "ada/b.ipynb": b"[]"}, "None of the 2 notebooks says"),
    ],
)
def test_a_missing_notebook_has_a_reason(source, tmp_path, files, says):
    for path, content in files.items():
        put(source, path, content)
    found, _ = run(source, tmp_path / "in")
    assert found["ada"].state == MISSING
    assert says in " ".join(found["ada"].notes)
    assert (tmp_path / "in" / "ada").is_dir()
    assert not (tmp_path / "in" / "ada" / A).exists()


def test_the_content_decides_and_several_notebooks_get_a_note(source, tmp_path):
    bare = json.loads(SECOND)
    del bare["metadata"]["vaelab"]  # as after an upload to some services
    put(source, "ada/Untitled.ipynb", json.dumps(bare).encode())
    put(source, "ada/03_fc_vae.ipynb", OTHER)
    put(source, "bob/old.ipynb", FIRST)
    put(source, "bob/03_fc_vae.ipynb", SECOND, NOON.replace(hour=1))
    put(source, "eve/03_fc_vae.ipynb", b"<html>Log in</html>")
    found, _ = run(source, tmp_path / "in")
    assert taken(tmp_path / "in", "ada") == json.dumps(bare).encode()
    assert "another name: Untitled.ipynb" in " ".join(found["ada"].notes)
    assert taken(tmp_path / "in", "bob") == SECOND
    assert "There are 2 notebooks" in " ".join(found["bob"].notes)
    assert taken(tmp_path / "in", "eve").startswith(b"<html>")


def test_nothing_leaves_the_target(source, tmp_path):
    into = tmp_path / "in"
    secret = tmp_path / "secret.ipynb"
    secret.write_bytes(SECOND)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("../../evil.ipynb", "/etc/evil.ipynb", "..\\evil.ipynb", "C:\\evil.ipynb"):
            opened.writestr(name, SECOND)
        link = zipfile.ZipInfo("03_fc_vae.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, str(secret))
    put(source, "ada/x.zip", archive.getvalue())
    (source / "bob").mkdir()
    (source / "bob" / "03_fc_vae.ipynb").symlink_to(secret)
    (source / "eve").symlink_to(tmp_path)
    put(source, "zoe/03_fc_vae.ipynb", FIRST)
    before = {path for path in tmp_path.rglob("*") if into not in path.parents}
    found, problems = run(source, into)
    assert {path for path in tmp_path.rglob("*") if into not in path.parents} == before | {into}
    assert set(found) == {"zoe"}
    assert len(problems) >= 7
    assert not Path("/etc/evil.ipynb").exists()


def test_bombs_and_broken_archives_are_problems_and_the_rest_is_collected(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(arrivals, "MAX_MEMBER", 1 << 20)
    monkeypatch.setattr(arrivals, "MAX_ENTRIES", 50)
    put(source, "bomb/03_fc_vae.zip", zipped({"03_fc_vae.ipynb": bytes(3 << 20)}))
    nested = zipped({"03_fc_vae.ipynb": SECOND})
    for _ in range(arrivals.MAX_NESTED):
        nested = zipped({"x.zip": nested})
    put(source, "nested/x.zip", nested)
    put(source, "many/x.zip", zipped({f"{i}.txt": b"" for i in range(51)}))
    put(source, "broken/x.zip", zipped({"03_fc_vae.ipynb": SECOND})[:-30])
    put(source, "empty/x.zip", zipped({}))
    put(source, "other/x.7z", b"7z")
    damaged = bytearray(zipped({"03_fc_vae.ipynb": SECOND}))
    damaged[200:400] = bytes(200)
    put(source, "damaged/x.zip", bytes(damaged))
    put(source, "zoe/03_fc_vae.ipynb")
    found, problems = run(source, tmp_path / "in")
    assert taken(tmp_path / "in", "zoe") == SECOND
    told = "\n".join(f"{where}: {text}" for where, text in problems)
    for text in (
        "nested/x.zip/x.zip/x.zip/x.zip: More than 3 archives are nested.",
        "many/x.zip: The archive has 51 files",
        "broken/x.zip: The archive cannot be read",
        "empty/x.zip: The archive is empty.",
        "other/x.7z: Only ZIP archives are read",
    ):
        assert text in told
    assert "more than 1 MiB" in " ".join(found["bomb"].notes)
    assert found["damaged"].state == MISSING


ROSTERS = {
    "canvas": "\ufeffStudent,ID,SIS User ID,SIS Login ID,Section\n"
    '"    Points Possible",,,,\n"Lovelace, Ada",12345,S1,al1,A\n"Zuse, Konrad",99,S2,kz2,A\n',
    "moodle": "First name;Last name;ID number;Email address\n"
    "Ada;Lovelace;al1;ada@example.org\nKonrad;Zuse;kz2;kz@example.org\n",
    "nbgrader": "id,first_name,last_name,email,lms_user_id\n"
    "al1,Ada,Lovelace,ada@example.org,12345\nkz2,Konrad,Zuse,kz@example.org,99\n",
}


@pytest.mark.parametrize("form", ROSTERS)
def test_a_roster_names_the_folders_and_lists_who_is_missing(source, tmp_path, form):
    path = tmp_path / "roster.csv"
    path.write_text(ROSTERS[form], encoding="utf-8")
    roster = read_roster(path)
    assert [one.key for one in roster] == ["al1", "kz2"]
    put(source, CANVAS)
    put(source, "hoppergrace_777_888_03_fc_vae.ipynb", FIRST)
    found, problems = run(source, tmp_path / "in", roster)
    assert {name: one.state for name, one in found.items()} == {
        "al1": TAKEN,
        "hoppergrace": TAKEN,
        "kz2": MISSING,
    }
    assert found["al1"].name == "Ada Lovelace"
    assert [text for _, text in problems] == ["hoppergrace: This student is not on the roster."]
    assert {entry.student for entry in find_submissions(tmp_path / "in", A)} == set(found)


def test_names_match_without_accents_and_two_with_one_name_stay_apart(source, tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("id,name\nz1,Zoë Müller\na1,Ada Lovelace\na2,Ada Lovelace\n", "cp1252")
    roster = read_roster(path)
    put(source, "Zoe Muller_5_assignsubmission_file_/03_fc_vae.ipynb")
    put(source, "Ada Lovelace_6_assignsubmission_file_/03_fc_vae.ipynb", FIRST)
    put(source, "Ada Lovelace_7_assignsubmission_file_/03_fc_vae.ipynb", SECOND)
    found, problems = run(source, tmp_path / "in", roster)
    assert {name for name, one in found.items() if one.state == TAKEN} == {
        "z1",
        "Ada Lovelace_6",
        "Ada Lovelace_7",
    }
    assert all("several such students: a1, a2" in text for _, text in problems)
    assert len(problems) == 2
    assert match(_owner("a2"), roster)[0].key == "a2"


def _owner(text):
    from autograder.collecting.owners import Owner

    return Owner("somebody", frozenset({text}))


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "names no student"), ("colour\nred\n", "names no student"), ("id\na\na\n", "twice")],
)
def test_a_roster_without_ids_is_refused(tmp_path, text, says):
    path = tmp_path / "roster.csv"
    path.write_text(text)
    with pytest.raises(CollectError, match=says):
        read_roster(path)


@pytest.mark.parametrize(
    "name", ["..", "a/b", "a\\b", "-rf", "x" * 300, "a\x1b[2J", "con:", " ada ", "é\udc80"]
)
def test_each_name_becomes_one_folder(name):
    found = folder_name(name)
    assert found
    assert found not in (".", "..")
    assert not set(found) & set('/\\:*?"<>|\x1b')
    assert len(found.encode()) < 200
    # No other name may become this one, also not the changed name itself.
    assert name == found or folder_name(found) != found


def test_two_names_never_share_a_folder():
    names = ["a/b", "a_b", "a\\b", "a:b", "a_b "]
    names += [folder_name("a/b"), folder_name("..")]
    assert folder_name("0a" * 20) == "0a" * 20  # ids of a class without names
    assert len({folder_name(name) for name in names}) == len(names)


EVIL = SECOND.replace(b"import torch", b"import torch  # mallory", 1)
META = b"submission_1:\n  :submitters:\n  - :name: victim\n    :sid: victim\n"


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"mallory/submission_metadata.yml": META, f"mallory/submission_1/{A}.ipynb": EVIL},
        {f"mallory/victim_12_assignsubmission_file_/{A}.ipynb": EVIL},
        {f"mallory/victim_12_34_{A}.ipynb": EVIL},
        {f"mallory/victim+{A}+2099-11-30 10:11:12 UTC+ab/{A}.ipynb": EVIL},
        {"mallory/victim.zip": zipped({f"{A}.ipynb": EVIL}), "mallory/b.zip": NOTES},
        {"mallory.zip": zipped({f"victim/{A}.ipynb": EVIL, "b/notes.txt": b""})},
        {"mallory.zip": zipped({f"victim_12_34_{A}.ipynb": EVIL})},
        {"mallory.zip": zipped({"submission_metadata.yml": META, "submission_1/a.ipynb": EVIL})},
    ],
)
def test_a_student_cannot_name_another_one(source, tmp_path, files, archive):
    """A form of a platform below the only student's name is that student's own choice."""
    into = tmp_path / "in"
    put(source, f"victim/{A}.ipynb", SECOND)
    run(source, into)
    late = tmp_path / "late"
    for path, content in files.items():
        put(late, path, content, NOON.replace(hour=13))
    if archive:
        late = tmp_path / "late.zip"
        late.write_bytes(zipped(files))
    found, problems = run(late, into)
    assert {name: one.state for name, one in found.items()} == {
        "mallory": TAKEN,
        "victim": UNCHANGED,
    }
    assert taken(into, "victim") == SECOND
    assert taken(into, "mallory") == EVIL
    assert [text for _, text in problems if "was taken as that of one student" in text]


@pytest.mark.parametrize(
    "files",
    [
        {f"submissions/ada_12_34_{A}.ipynb": SECOND},
        {"submissions (1).zip": zipped({f"ada_12_34_{A}.ipynb": SECOND})},
        {f"CS101-VAE 3-4711/ada_12_assignsubmission_file_/{A}.ipynb": SECOND},
        {f"inbound/ada+{A}+2026-11-29 10:11:12 UTC+0a1b/{A}.ipynb": SECOND},
        {
            "submissions.zip": zipped(
                {
                    "assignment_7_export/submission_metadata.yml": META.replace(b"victim", b"ada"),
                    "assignment_7_export/submission_1/x.ipynb": SECOND,
                }
            )
        },
    ],
)
def test_a_folder_with_the_name_of_a_download_is_entered(source, tmp_path, files):
    for path, content in files.items():
        put(source, path, content)
    found, problems = run(source, tmp_path / "in")
    assert list(found) == ["ada"]
    assert taken(tmp_path / "in", "ada") == SECOND
    assert problems == ()


def test_a_student_of_the_roster_is_no_download(source, tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("id,name\nada-lee-12,Ada\nvictim,Victim\n")
    put(source, f"ada-lee-12/victim_12_assignsubmission_file_/{A}.ipynb")
    found, _ = run(source, tmp_path / "in", read_roster(path))
    assert {name: one.state for name, one in found.items()} == {
        "ada-lee-12": TAKEN,
        "victim": MISSING,
    }


def test_another_name_of_the_owner_is_a_note(source, tmp_path):
    put(source, f"ada/{A}.ipynb", FIRST)
    run(source, tmp_path / "in")
    put(tmp_path / "late", f"ada_12_34_{A}.ipynb", SECOND, NOON.replace(hour=13))
    found, _ = run(tmp_path / "late", tmp_path / "in")
    assert f"under another name: ada/{A}.ipynb" in " ".join(found["ada"].notes)
    put(tmp_path / "late", f"ada_12_35_{A}-1.ipynb", FIRST, NOON.replace(hour=14))
    found, _ = run(tmp_path / "late", tmp_path / "in")
    assert found["ada"].state == TAKEN
    assert "another name" not in " ".join(found["ada"].notes)


def test_a_notebook_without_a_student_in_gradescopes_list_is_a_problem(source, tmp_path):
    put(source, "submission_metadata.yml", META)
    put(source, "submission_1/a.ipynb")
    put(source, "submission_2/a.ipynb")
    found, problems = run(source, tmp_path / "in")
    assert list(found) == ["victim"]
    assert [where for where, _ in problems] == ["submission_2/a.ipynb"]


def test_one_students_archives_use_up_no_limit_of_another(source, tmp_path, monkeypatch):
    monkeypatch.setattr(arrivals, "MAX_NESTED_BYTES", 200_000)
    monkeypatch.setattr(arrivals, "MAX_ENTRIES", 30)
    bomb = zipped({f"{i}.zip": bytes(90_000) for i in range(9)})
    many = {f"b many_5_assignsubmission_file_/{i}.txt": b"" for i in range(40)}
    nested = zipped({"work.zip": zipped({f"{A}.ipynb": SECOND})})
    path = tmp_path / "all.zip"
    path.write_bytes(
        zipped(
            {
                "a mallory_1_assignsubmission_file_/x.zip": bomb,
                **many,
                "victim_2_assignsubmission_file_/x.zip": nested,
                "zoe_3_assignsubmission_file_/x.zip": nested,
            }
        )
    )
    found, problems = run(path, tmp_path / "in")
    assert found["victim"].state == found["zoe"].state == TAKEN
    told = "\n".join(f"{where}: {text}" for where, text in problems)
    assert "a mallory_1_assignsubmission_file_/x.zip/8.zip: The archives inside" in told
    assert "b many_5: There are 40 files; only the first 30 are read." in told


def test_archives_are_in_memory_one_at_a_time(source, tmp_path):
    for number in range(20):
        inner = zipped({f"{A}.ipynb": SECOND, "data.bin": os.urandom(1 << 20)})
        put(source, f"s{number}/x.zip", zipped({"work.zip": inner}))
    tracemalloc.start()
    try:
        found, _ = run(source, tmp_path / "in")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert all(one.state == TAKEN for one in found.values())
    assert peak < 12 << 20


def test_notebooks_are_in_memory_one_at_a_time(source, tmp_path):
    body = json.loads(SECOND)
    for number in range(20):
        body["metadata"]["x"] = f"{number}" + "x" * (2 << 20)
        put(source, f"ada/{number}.ipynb", json.dumps(body).encode())
        put(source, f"bob_12_{100 + number}_{A}-{number}.ipynb", json.dumps(body).encode())
    tracemalloc.start()
    try:
        found, _ = run(source, tmp_path / "in")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found["ada"].state == found["bob"].state == TAKEN
    assert "and 9 more" in " ".join(found["ada"].notes)
    assert "19 earlier attempts" in " ".join(found["bob"].notes)
    assert peak < 20 << 20


def test_a_compression_without_a_bound_is_not_read(source, tmp_path):
    size, stated = 300 << 20, 1000
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr(f"{A}.ipynb", bytes(size))
    lies = stream.getvalue().replace(size.to_bytes(4, "little"), stated.to_bytes(4, "little"))
    put(source, "ada/x.zip", lies)
    put(source, f"zoe/{A}.ipynb")
    tracemalloc.start()
    try:
        found, _ = run(source, tmp_path / "in")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found["zoe"].state == TAKEN
    assert "compressed in an unusual way" in " ".join(found["ada"].notes)
    assert peak < size // 2


def test_only_some_notebooks_are_read_the_likely_ones_first(source, tmp_path, monkeypatch):
    monkeypatch.setattr(choose, "MAX_NOTEBOOKS", 2)
    for name in ("0", "00", f"my {A}", A):
        put(source, f"ada/{name}.ipynb", FIRST if name == "0" else SECOND)
    put(source, f"zoe/{A}.ipynb")
    found, _ = run(source, tmp_path / "in")
    assert taken(tmp_path / "in", "ada") == SECOND
    assert "2 notebooks could not be read. At most 2 notebooks" in " ".join(found["ada"].notes)
    assert found["zoe"].state == TAKEN
    monkeypatch.setattr(choose, "MAX_NOTEBOOKS", 5)
    monkeypatch.setattr(choose, "MAX_NOTEBOOK_BYTES", 10)
    assert "3 notebooks could not" in " ".join(run(source, tmp_path / "in2")[0]["ada"].notes)


def test_python_files_that_are_not_imported_or_too_large_are_not_kept(
    source, tmp_path, monkeypatch
):
    read = []
    real = arrivals.Arrival.read

    def counted(self, most=None):
        content = real(self, most)
        read.append((self.name, len(content)))
        return content

    monkeypatch.setattr(arrivals.Arrival, "read", counted)
    put(source, f"ada/{A}.ipynb", USES)
    put(source, "ada/my_tools.py", b"import large, larger, inner")
    put(source, "ada/inner.py", b"x = 1")
    put(source, "ada/large.py", b"#" * (MAX_SOURCE + 1))
    put(source, "ada/larger.py", b"#" * (5 * MAX_SOURCE))
    put(source, "ada/unused.py", b"y = 2")
    found, _ = run(source, tmp_path / "in")
    told = " ".join(found["ada"].notes)
    assert "large.py was not taken: The file has more than 150,000 characters." in told
    assert "larger.py was not taken: The file has more than 600,004 bytes." in told
    folder = tmp_path / "in/ada" / A
    assert {path.name for path in folder.iterdir()} == {f"{A}.ipynb", "my_tools.py", "inner.py"}
    assert not {name for name, _ in read} & {"unused.py", "larger.py"}


def test_a_notebook_is_searched_once_for_all_its_python_files(source, tmp_path, monkeypatch):
    searched = []
    real = choose.used_modules

    def counted(text, files):
        searched.append(len(text))
        return real(text, files)

    monkeypatch.setattr(choose, "used_modules", counted)
    names = [f"m{number:02}" for number in range(MAX_HELPERS + 5)]
    imports = f"import torch, {', '.join(names)}\\n".encode()
    put(source, f"ada/{A}.ipynb", SECOND.replace(b"import torch\\n", imports, 1))
    put(source, f"zoe/{A}.ipynb")
    for name in names:
        put(source, f"ada/{name}.py", b"x = 1")
        put(source, f"zoe/{name}.py", b"x = 1")
    found, _ = run(source, tmp_path / "in")
    assert f"At most {MAX_HELPERS} Python files are taken" in " ".join(found["ada"].notes)
    assert len(list((tmp_path / "in/ada" / A).glob("*.py"))) == MAX_HELPERS
    assert sum(length > 10_000 for length in searched) == 1


def test_an_error_of_one_student_is_a_problem_and_the_others_are_collected(
    source, tmp_path, monkeypatch
):
    into = tmp_path / "in"
    into.mkdir()
    (into / "eve").write_text("a file in the place of the folder")
    real = choose.assignment_of

    def failing(content):
        if content == EVIL:
            raise MemoryError
        return real(content)

    monkeypatch.setattr(choose, "assignment_of", failing)
    put(source, f"ada/{A}.ipynb")
    put(source, f"eve/{A}.ipynb")
    put(source, f"mallory/{A}.ipynb", EVIL)
    put(source, f"zoe/{A}.ipynb")
    found, problems = run(source, into)
    assert {name for name, one in found.items() if one.state == TAKEN} == {"ada", "zoe"}
    assert [where for where, _ in problems] == [f"eve/{A}.ipynb", f"mallory/{A}.ipynb"]
    assert "MemoryError" in " ".join(found["mallory"].notes)


def test_two_students_never_share_a_folder(source, tmp_path):
    for name, content in {"Ada_12": FIRST, "Ada_13": SECOND, "Ada_12_99": EVIL}.items():
        put(source, f"{name}_assignsubmission_file_/{A}.ipynb", content)
    found, _ = run(source, tmp_path / "in")
    assert {taken(tmp_path / "in", name) for name in found} == {FIRST, SECOND, EVIL}
    changed = [one for one in found.values() if "would be that of another" in " ".join(one.notes)]
    assert len(changed) == 2
    assert all(one.attempts == 1 for one in found.values())
    # Her own form of the name does not help another student either.
    for name in ('Ada "Love"', "Ada _Love_-11f75a21", folder_name('Ada "Love"')):
        put(tmp_path / "b", f"{name}_{len(name)}_assignsubmission_file_/{A}.ipynb")
    assert len(run(tmp_path / "b", tmp_path / "in_b")[0]) == 3


def test_a_later_download_gives_a_namesake_another_folder(source, tmp_path):
    into = tmp_path / "in"
    put(source, f"Ada_12_assignsubmission_file_/{A}.ipynb", FIRST)
    assert list(run(source, into)[0]) == ["Ada"]
    late = tmp_path / "late"
    put(late, f"Ada_13_assignsubmission_file_/{A}.ipynb", EVIL, NOON.replace(hour=13))
    assert len(run(late, into)[0]) == 2
    assert taken(into, "Ada") == FIRST
    put(late, f"Ada_12_assignsubmission_file_/{A}.ipynb", SECOND, NOON.replace(hour=14))
    assert len(run(late, into)[0]) == 2
    assert taken(into, "Ada") == SECOND


def test_a_display_name_gets_no_folder_of_the_roster(source, tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("id,name\na1,Ada Lovelace\n")
    put(source, f"Ada Lovelace_5_assignsubmission_file_/{A}.ipynb", SECOND)
    put(source, f"a1_6_assignsubmission_file_/{A}.ipynb", EVIL)
    put(source, f"Ada Lovelace_7_assignsubmission_file_6_assignsubmission_file_/{A}.ipynb", EVIL)
    found, problems = run(source, tmp_path / "in", read_roster(path))
    assert len(found) == 3
    assert taken(tmp_path / "in", "a1") == SECOND
    assert len(problems) == 2


def test_a_student_cannot_take_the_place_of_the_table(source, tmp_path):
    into = tmp_path / "in"
    name = f"collected-{A}.csv"
    put(source, f"{name}/{A}.ipynb")
    put(source, f"zoe/{A}.ipynb")
    found, _ = run(source, into)
    assert set(found) == {"zoe", folder_name(name)}
    assert all(one.state == TAKEN for one in found.values())
    assert (into / name).is_file()
    (into / name).unlink()
    (into / name).mkdir()
    with pytest.raises(CollectError, match="is a folder"):
        collect(source, A, into)


def test_an_exchange_in_an_archive_keeps_its_times(tmp_path):
    path = tmp_path / "inbound.zip"
    name = f"{{}}+{A}+2026-11-29 10:11:12 UTC+ab/{A}.ipynb"
    path.write_bytes(zipped({name.format("ada"): SECOND, name.format("zoe"): FIRST}))
    found, problems = run(path, tmp_path / "in")
    assert problems == ()
    assert {one.state for one in found.values()} == {TAKEN}
    assert found["ada"].time == datetime(2026, 11, 29, 10, 11, 12, tzinfo=UTC)


def test_the_command_prints_and_writes_what_it_took(source, tmp_path):
    put(source, CANVAS)
    put(source, "evil=1_55_66_04_cvae.ipynb", OTHER)
    into = tmp_path / "in"
    command = [sys.executable, "-m", "autograder", "collect", source, "--assignment", A]
    done = subprocess.run([*command, "--into", into], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 students have a notebook" in done.stdout
    table = (into / f"collected-{A}.csv").read_text()
    assert '"lovelaceada","lovelaceada","taken","2026-11-30 12:00:00","","1"' in table
    assert "belongs to another assignment" in table
    inside = subprocess.run(
        [*command, "--into", source / "in"], capture_output=True, text=True, timeout=120
    )
    assert inside.returncode == 2
    assert "lies inside" in inside.stderr
    none = [sys.executable, "-m", "autograder", "collect", tmp_path / "no", "--assignment", A]
    done = subprocess.run([*none, "--into", into], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "does not exist" in done.stderr
