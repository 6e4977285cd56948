"""Write an honest submission and modules with the names of common packages."""


def place(path, honest, targets):
    path.write_bytes(honest)
    code = f"open({str(targets / 'owned')!r}, 'w').write(__name__)\n"
    for name in ("torch", "numpy", "pytest", "conftest", "sitecustomize", "usercustomize", "json"):
        (path.parent / f"{name}.py").write_text(code)
    (path.parent / "evil.pth").write_text(f"import os; {code}")
    (path.parent / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
