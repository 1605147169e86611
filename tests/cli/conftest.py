"""The program, run as a user would, in this process."""

import sys

import pytest

from metazoo.cli import main as cli


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the program in this process; (exit code, standard output, standard error)."""

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["metazoo", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return call
