"""Builds the one extension, fastsoftmax._core; everything static is in pyproject.toml.

What is special here, and why it is not plain setuptools:

- Every kernel instance (csrc/isa/<isa>_<dtype>.c) is compiled with the flags of its own
  instruction set and all other C with the baseline's, so that the module loads on any processor
  of the architecture and chooses at import.
- What the compiler can do is found out by asking the compiler, with small programs, never by
  looking at the machine that builds: a cross-compiler, ARCHFLAGS and CFLAGS are respected so.
- Where the extension cannot be built, a user gets the NumPy reference and a loud message;
  whoever builds wheels gets an error (see `extension_required`).

Environment: FASTSOFTMAX_REQUIRE_EXTENSION=1  a failed compile is an error
             FASTSOFTMAX_WERROR=1             warnings of our own C are errors
             FASTSOFTMAX_DEBUG=1              keep symbols and debug information
             FASTSOFTMAX_COMPILE_COMMANDS=1   write compile_commands.json, for clangd
             FASTSOFTMAX_OPENMP=0|1|llvm      without; an error if absent; MSVC with LLVM's runtime
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CYTHON_DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "freethreading_compatible": True,
}

# -ffp-contract=off: an a*b + c fused where the source does not say so changes the bits from one
# compiler to the next. Never -ffast-math: it changes the whole process.
# -fno-tree-slp-vectorize: gcc 12 drops the rounding of (double)(float)x where it packs two into a
# vector.
C_FLAGS = {
    "unix": [
        "-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden",
        "-fno-tree-slp-vectorize",
    ],
    "msvc": ["/O2", "/std:c11", "/fp:precise"],
}
WERROR_FLAGS = {
    "unix": ["-Wall", "-Wextra", "-Wpedantic", "-Werror"],
    "msvc": ["/W4", "/WX"],
}
# The generated file is Cython's: its warnings are shown, but what a new Cython leaves unused is no
# fault of ours.
WARNING_FLAGS_CYTHON = {
    "unix": ["-Wall", "-Wno-unused-function"],
    "msvc": [],
}

# Per instruction set: the architecture, the flags, and a program that needs them. The vocabulary
# in csrc/simd may use all that the flags switch on; no flags, and the architecture always has it.
ISAS = {
    "avx2": {
        "arch": "x86_64",
        "unix": ["-mavx2", "-mfma"],
        "msvc": ["/arch:AVX2"],
        "probe": """
            #include <immintrin.h>
            __m256d f(__m256d a) { return _mm256_fmadd_pd(a, a, a); }
            __m256i g(__m256i a) { return _mm256_add_epi64(a, a); }""",
    },
    "avx512": {
        "arch": "x86_64",
        "unix": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma",
                 "-mprefer-vector-width=512"],
        "msvc": ["/arch:AVX512"],
        "probe": """
            #include <immintrin.h>
            __m512d f(__m512d a) { return _mm512_scalef_pd(a, _mm512_and_pd(a, a)); }
            __m256d g(__m256d a) { return _mm256_maskz_mov_pd(3, a); }
            __m512i h(__m512i a) { return _mm512_add_epi8(a, a); }""",
    },
    "neon": {
        "arch": "aarch64",
        "unix": [],
        "msvc": [],
        "probe": """
            #include <arm_neon.h>
            float64x2_t f(float64x2_t a) { return vfmaq_f64(a, a, a); }""",
    },
}
ARCH_MACROS = {
    "x86_64": "(defined __x86_64__ || defined _M_X64) && !defined _M_ARM64EC",
    "aarch64": "defined __aarch64__ || defined _M_ARM64",
}

OPENMP_PROBE = """
#include <omp.h>
#ifndef _OPENMP
#error the flag was ignored
#endif
int main(void)
{
    int i, sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(2)
    for (i = 0; i < 100; i++)
        sum += i;
    return sum == 4950 && omp_get_max_threads() > 0 ? 0 : 1;
}
"""

NOT_BUILT = """
*******************************************************************************
*                                                                             *
*   fastsoftmax: THE COMPILED KERNELS WERE NOT BUILT                          *
*                                                                             *
*******************************************************************************
  Why:     {reason}
  Effect:  fastsoftmax is installed and correct, but runs on its NumPy
           reference, many times slower. Importing it will warn.
  Mend:    install a C compiler and the headers of Python
             Debian, Ubuntu:  apt-get install gcc python3-dev
             Fedora:          dnf install gcc python3-devel
             macOS:           xcode-select --install
             Windows:         the Build Tools of Visual Studio, "Desktop C++"
           and install again with  pip install --no-cache-dir --force-reinstall
           (the compiler's own messages: add -v).
  Strict:  FASTSOFTMAX_REQUIRE_EXTENSION=1 makes this an error.
*******************************************************************************
"""


def flag(name):
    return os.environ.get(name, "") not in ("", "0")


def extension_required():
    """Whoever builds for others must not ship the slow fallback unawares."""
    builders = ("CIBUILDWHEEL", "CONDA_BUILD", "FASTSOFTMAX_REQUIRE_EXTENSION")
    return any(flag(name) for name in builders)


def say(text):
    print(f"fastsoftmax: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def hushed():
    """A probe that fails is an answer, not an error: keep the compiler's words off the screen."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for fd in (*saved, null):
            os.close(fd)


class Probe:
    """Questions to the compiler, asked with programs of a few lines."""

    def __init__(self, compiler):
        self.compiler = compiler
        self.style = "msvc" if compiler.compiler_type == "msvc" else "unix"

    def compiles(self, code, flags=()):
        with tempfile.TemporaryDirectory() as folder, hushed():
            try:
                self._compile(folder, code, flags)
            except Exception:  # the compilers' error classes share no base that is public
                return False
        return True

    def openmp(self, flags, link_flags):
        """None if an OpenMP program builds and runs, else the reason in a few words."""
        with tempfile.TemporaryDirectory() as folder, hushed():
            try:
                objects = self._compile(folder, OPENMP_PROBE, flags)
            except Exception:
                return f"the compiler does not take {' '.join(flags)}"
            try:
                self.compiler.link_executable(
                    objects, "probe", output_dir=folder, extra_postargs=[*flags, *link_flags])
            except Exception:
                return f"no OpenMP runtime to link ({' '.join([*flags, *link_flags])})"
            program = os.path.join(folder, self.compiler.executable_filename("probe"))
            try:
                code = subprocess.run([program], timeout=60).returncode
            except OSError:  # built for another machine: that it links has to do
                return None
            except subprocess.TimeoutExpired:
                return "a program with OpenMP hangs"
        return None if code == 0 else f"a program with OpenMP exits with status {code}"

    def arch(self):
        """The architecture compiled for, or "other": a universal2 build is for two, so other."""
        for name, macros in ARCH_MACROS.items():
            if self.compiles(f"#if !({macros})\n#error\n#endif\nint x;\n"):
                return name
        return "other"

    def _compile(self, folder, code, flags):
        source = Path(folder, "probe.c")
        source.write_text(code)
        return self.compiler.compile([str(source)], output_dir=folder, extra_postargs=list(flags))


def find_openmp(probe):
    """(compile flags, link flags, note); the note is what show_config() says about it."""
    wish = os.environ.get("FASTSOFTMAX_OPENMP", "")
    if wish == "0":
        return [], [], "switched off by FASTSOFTMAX_OPENMP=0"
    if probe.style == "msvc":
        # Plain /openmp is OpenMP 2.0: all that parallel.c needs, and its runtime, vcomp140.dll, may
        # be shipped in wheels. That of /openmp:llvm may not, so it is only for builds of one's own.
        candidates = [(["/openmp:llvm" if wish == "llvm" else "/openmp"], [])]
    elif sys.platform == "darwin":  # Apple's clang has the front end but no runtime
        prefixes = ["/opt/homebrew/opt/libomp", "/usr/local/opt/libomp"]
        candidates = [(["-Xpreprocessor", "-fopenmp"], ["-lomp"])] + [
            (["-Xpreprocessor", "-fopenmp", f"-I{p}/include"], [f"-L{p}/lib", "-lomp"])
            for p in prefixes if os.path.isdir(p)]
    else:
        candidates = [(["-fopenmp"], ["-fopenmp"])]
    reasons = []
    for flags, link_flags in candidates:
        reason = probe.openmp(flags, link_flags)
        if reason is None:
            return flags, link_flags, "found: " + " ".join(flags)
        reasons.append(reason)
    if wish:
        raise RuntimeError(f"FASTSOFTMAX_OPENMP={wish}, but {reasons[-1]}")
    return [], [], "left out: " + reasons[-1]


class BuildExt(build_ext):
    """Builds _core group by group, or explains at length why it could not."""

    def build_extension(self, ext):
        try:
            self.build_core(ext)
        except Exception as error:
            # A module left from an earlier build must not be taken for the one that failed.
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
            if extension_required():
                say("the extension is required here and could not be built")
                raise
            ext.optional = True  # setuptools then does not look for the file
            print(NOT_BUILT.format(reason=f"{type(error).__name__}: {error}"),
                  file=sys.stderr, flush=True)

    def build_core(self, ext):
        import numpy
        from Cython.Build import cythonize

        probe = Probe(self.compiler)
        if not probe.compiles("int x;\n"):
            raise RuntimeError("no working C compiler (set CC to name one)")
        sources, macros, link_flags = self.plan(probe)
        # Before the compiler starts: Cython's errors should not be buried in its output.
        generated = cythonize([Extension(ext.name, ext.sources)], build_dir=self.build_temp,
                              compiler_directives=CYTHON_DIRECTIVES, force=True, quiet=True)

        ext.sources = generated[0].sources
        ext.include_dirs = ["csrc", numpy.get_include()]
        ext.define_macros = [*macros, ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
                             ("NPY_TARGET_VERSION", "NPY_1_25_API_VERSION")]  # 1.26, the oldest
        if flag("FASTSOFTMAX_COMPILE_COMMANDS"):
            write_compile_commands(self.compiler, sources, macros)
        ext.extra_objects = self.compile_all(sources, macros)
        ext.extra_compile_args = C_FLAGS[probe.style] + (
            WARNING_FLAGS_CYTHON[probe.style] if flag("FASTSOFTMAX_WERROR") else [])
        ext.extra_link_args = link_flags + strip_flags(probe)
        self.force = True  # always: a header, a flag or the compiler may have changed
        super().build_extension(ext)

    def plan(self, probe):
        """({source: flags}, macros, link flags) for this compiler."""
        common = C_FLAGS[probe.style] + (
            WERROR_FLAGS[probe.style] if flag("FASTSOFTMAX_WERROR") else [])
        if flag("FASTSOFTMAX_DEBUG") and probe.style == "unix":
            common = [*common, "-g"]
        openmp, link_flags, note = find_openmp(probe)
        say(f"OpenMP {note}")
        threads = ["-pthread"] if probe.style == "unix" and os.name == "posix" else []
        macros = [("FS_OPENMP_NOTE", f'"{note}"')]

        sources = dict.fromkeys(c_files("csrc/*.c"), common)
        # A fallback: -O3 would unroll it to more code than any other instance has.
        smaller = [*common, "-O2"] if probe.style == "unix" else common
        sources.update((source, smaller) for source in c_files("csrc/isa/scalar_*.c"))
        # Only this file knows OpenMP, so only it is given the flags.
        sources["csrc/parallel.c"] = common + openmp + threads

        arch = probe.arch()
        compiled = ["scalar"]
        for name, isa in ISAS.items():
            instances = c_files(f"csrc/isa/{name}_*.c")
            if arch != isa["arch"] or not instances:
                continue
            if not probe.compiles(isa["probe"], isa[probe.style]):
                flags = " ".join(isa[probe.style]) or "its intrinsics"
                say(f"{name} kernels left out: the compiler does not take {flags}")
                continue
            sources.update((source, common + isa[probe.style]) for source in instances)
            macros.append((f"FS_HAVE_{name.upper()}", "1"))
            compiled.append(name)
        say(f"target {arch}, instances: {' '.join(compiled)}")
        return sources, macros, link_flags + threads

    def compile_all(self, sources, macros):
        """One compiler a source, as many at a time as there are cores; the objects."""
        def compile_one(item):
            source, flags = item
            return self.compiler.compile(
                [source], output_dir=self.build_temp, macros=macros, include_dirs=["csrc"],
                debug=self.debug, extra_postargs=flags)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [path for paths in pool.map(compile_one, sources.items()) for path in paths]


def write_compile_commands(compiler, sources, macros):
    """How each source is compiled, in the form of clang's JSON compilation database."""
    command = getattr(compiler, "compiler_so", None) or ["cl"]
    command = [part for part in command if Path(part).name != "ccache"]  # clangd wants the compiler
    defines = [f"-D{name}={value}" for name, value in macros]
    entries = [
        {"directory": os.getcwd(), "file": source,
         "arguments": [*command, *defines, "-Icsrc", *flags, "-c", source]}
        for source, flags in sources.items()
    ]
    Path("compile_commands.json").write_text(json.dumps(entries, indent=1) + "\n")


def strip_flags(probe):
    if flag("FASTSOFTMAX_DEBUG") or probe.style == "msvc":
        return []
    return ["-Wl,-S,-x"] if sys.platform == "darwin" else ["-Wl,--strip-all"]


def c_files(pattern):
    return sorted(path.replace(os.sep, "/") for path in glob(pattern))


setup(
    ext_modules=[Extension("fastsoftmax._core", ["src/fastsoftmax/_core.pyx"])],
    cmdclass={"build_ext": BuildExt},
)
