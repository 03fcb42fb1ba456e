"""The front door: `python -m fastsoftmax [bench | info | accuracy]`."""

import argparse
import sys

from . import __version__
from ._config import show_config

COMMANDS = {  # with the sentence that `--help` has for it, and the paragraph of its own help
    "bench": ("check the kernels here, race them against NumPy (default)", """\
What the package runs on, a check of its kernels against the reference, and a
table of times and errors beside textbook NumPy. The exit status is 1 if the
check fails."""),
    "info": ("version, backend, instruction sets, OpenMP and threads", """\
What fastsoftmax.show_config() prints: put it into a bug report."""),
    "accuracy": ("worst and mean errors over distributions of logits", """\
Worst and mean errors in units in the last place over distributions of logits,
beside textbook NumPy and, but for --quick, those of scipy, torch, onnxruntime
and jax that are installed."""),
}
EPILOG = """\
Without a command, bench runs: `python -m fastsoftmax --quick` is a look at it.
`python -m fastsoftmax COMMAND --help` tells the options.

environment:
  FASTSOFTMAX_NUM_THREADS    the number of threads, above OMP_NUM_THREADS
  FASTSOFTMAX_MAX_ISA        the best to use: scalar, avx2, avx512 or neon
  FASTSOFTMAX_BACKEND        numpy forces the reference
  FASTSOFTMAX_RECYCLE_BYTES  how much memory of freed results is kept
"""


def parser():
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="python -m fastsoftmax", epilog=EPILOG, formatter_class=raw,
        description="Fast, exact softmax and cross-entropy: see and check it on this machine.")
    top.add_argument("--version", action="version", version=f"fastsoftmax {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    parts = {name: commands.add_parser(name, help=short, description=long, formatter_class=raw)
             for name, (short, long) in COMMANDS.items()}
    for name, dtype, quick, peers in (
            ("bench", "float32", "a few seconds instead of half a minute", "that is installed"),
            ("accuracy", None, "short rows alone, and no other libraries",
             "that is installed, with --quick too")):
        add = parts[name].add_argument
        add("--quick", action="store_true", help=quick)
        add("--dtype", choices=("float32", "float64"), default=dtype,
            help=f"of the logits (default: {dtype or 'both'})")
        add("--peers", action="store_true",
            help=f"a column for each of scipy, torch, onnxruntime and jax {peers}")
        add("--json", metavar="FILE", help="write everything measured to FILE as well")
    return top


def parse(arguments=None):
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    first = arguments[0] if arguments else "--quick"
    if first.startswith("-") and first not in ("-h", "--help", "--version"):
        arguments.insert(0, "bench")
    return parser().parse_args(arguments or ["bench"])


def main(arguments=None):
    options = parse(arguments)
    if options.command == "info":
        show_config()
        return 0
    if options.command == "accuracy":
        from . import _bench_accuracy as command
    else:
        from . import _bench as command
    return command.main(options)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # piped into head: no reason for a traceback
        sys.stderr.close()
        sys.exit(141)
