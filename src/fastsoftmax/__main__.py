"""The front door: `python -m fastsoftmax [bench | info | accuracy]`."""

import argparse
import sys

from ._config import show_config

EPILOG = """\
bench     what it runs on, a check of the kernels against the reference, and a table of
          times and errors beside textbook NumPy; exit status 1 if the check fails (default)
info      version, backend, instruction sets, OpenMP and threads
accuracy  worst and mean error over distributions of logits, beside textbook NumPy and (but for
          --quick) scipy, torch, onnxruntime and jax, as far as installed

environment: FASTSOFTMAX_NUM_THREADS, FASTSOFTMAX_MAX_ISA (scalar, avx2, avx512, neon),
FASTSOFTMAX_BACKEND (numpy forces the reference)
"""


def parse(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m fastsoftmax",
        description="Fast, exact softmax and cross-entropy: see and check it on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", default="bench", metavar="command",
                        choices=("bench", "info", "accuracy"),
                        help="bench (default), info or accuracy: see below")
    parser.add_argument("--quick", action="store_true",
                        help="a few seconds instead of half a minute")
    parser.add_argument("--dtype", choices=("float32", "float64"),
                        help="of the logits (default: float32; accuracy: both)")
    parser.add_argument("--peers", action="store_true",
                        help="add scipy, torch, onnxruntime and jax, as far as installed")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to FILE as well")
    options = parser.parse_args(arguments)
    if options.command != "accuracy":
        options.dtype = options.dtype or "float32"
    return options


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
