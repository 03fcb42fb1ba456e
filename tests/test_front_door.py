"""`python -m fastsoftmax`: the command line; what the commands do is tested with their modules."""

import pytest

import fastsoftmax
from fastsoftmax import __main__


@pytest.mark.parametrize("arguments, command, quick", [
    ([], "bench", False), (["--quick"], "bench", True), (["bench", "--quick"], "bench", True),
    (["--dtype", "float64", "--quick"], "bench", True), (["accuracy", "--quick"], "accuracy", True),
])
def test_bench_is_the_default(arguments, command, quick, monkeypatch):
    monkeypatch.setattr("sys.argv", ["fastsoftmax", *arguments])
    for options in (__main__.parse(arguments), __main__.parse()):
        assert (options.command, options.quick) == (command, quick)
    assert __main__.parse(["accuracy"]).dtype is None and __main__.parse([]).dtype == "float32"


@pytest.mark.parametrize("arguments", [
    ["nonsense"], ["--threads", "2"], ["--dtype", "float16"], ["bench", "info"],
    ["info", "--json", "x"], ["info", "--quick"],  # info has nothing to do with them
])
def test_what_it_does_not_know_is_an_error(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        __main__.parse(arguments)
    assert stop.value.code == 2 and arguments[-2 if len(arguments) > 2 else -1] in \
        capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], *([c, "--help"]
                                                             for c in __main__.COMMANDS)])
def test_help_fits_a_terminal(arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        __main__.parse(arguments)
    text = capsys.readouterr().out
    assert stop.value.code == 0 and max(map(len, text.splitlines())) <= 80
    assert all(name in text for name in (__main__.COMMANDS if len(arguments) == 1 else arguments))


def test_version_and_info(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--version"])
    assert capsys.readouterr().out == f"fastsoftmax {fastsoftmax.__version__}\n"
    assert __main__.main(["info"]) == 0
    assert fastsoftmax.__version__ in capsys.readouterr().out
