# One command each; `make` lists them. The commands themselves work without make, on Windows too.
#
# A Makefile rather than nox: the extension is built in place once and rebuilt when its C changes,
# where a session of nox would build it anew in a fresh environment; that is what .ci/run is for.
#
# PYTHON names the interpreter (of an activated environment by default). With ccache installed a
# rebuild takes seconds.

PYTHON ?= python
CCACHE := $(shell command -v ccache 2>/dev/null)
ifneq ($(CCACHE),)
export CC := $(CCACHE) $(or $(CC),cc)
endif
export PYTHONPATH := $(CURDIR)/src
export FASTSOFTMAX_REQUIRE_EXTENSION := 1

# The settings of `race` beside the first one: with QUICK=1 fresh results alone, and half a gigabyte
# of logits left out.
ifdef QUICK
RACE = $(PYTHON) bench/peers.py --seconds 0.02
RACE_MORE = $(RACE) --mode fresh --case 1x10 32x10 100000x10 1000000x2 65536x100 1024x1000 \
	64x32000 32x128256 1x4000000 24576x512 8x21x512x512@1
else
RACE = $(PYTHON) bench/peers.py --seconds 0.1
RACE_MORE = $(RACE)
endif

SOURCES := setup.py src/fastsoftmax/_core.pyx $(wildcard csrc/*.* csrc/*/*.*)
BUILT := build/built

help:            ## this list
	@sed -n 's/^\([a-z_.]*\): *[^#]*## *\(.*\)/  make \1\t\2/p' Makefile | expand -t 20

develop:         ## install what contributors need, editable, and the pre-commit hooks
	$(PYTHON) -m pip install -e ".[test,dev,docs,typing,examples]"
	-pre-commit install

build: $(BUILT)  ## compile the extension in place, if its sources changed

$(BUILT): $(SOURCES)
	FASTSOFTMAX_WERROR=1 $(PYTHON) setup.py -q build_ext --inplace
	@mkdir -p $(@D) && touch $@

test: build      ## all tests; make test ARGS="-k softmax -x"
	$(PYTHON) -m pytest $(ARGS)

lint:            ## ruff and cython-lint
	ruff check .
	cython-lint src

typing: build    ## the stubs: mypy, pyright, and stubtest against the real functions
	$(PYTHON) tools/check_typing.py

race: build      ## all tables and plots of docs and README anew: half an hour; QUICK=1: ten minutes
	$(RACE) --dtype float32 --threads 2 --json build/race-1.json
	$(RACE_MORE) --dtype float32 --threads 1 --json build/race-2.json
	$(RACE_MORE) --dtype float64 --threads 2 1 --json build/race-3.json
	FASTSOFTMAX_MAX_ISA=avx2 $(RACE_MORE) --dtype float32 --threads 2 --json build/race-4.json
	$(RACE) --sweep --dtype float32 --threads 2 --mode fresh --json build/sweep.json
	$(PYTHON) bench/peers.py --from $(foreach part,1 2 3 4,build/race-$(part).json) \
		--json build/race.json --markdown docs/performance.md --readme README.md
	$(PYTHON) bench/plot.py build/race.json --mode fresh
	$(PYTHON) bench/plot.py build/sweep.json --mode fresh

bench: build     ## python -m fastsoftmax; make bench ARGS=--peers
	$(PYTHON) -m fastsoftmax bench $(ARGS)

accuracy: build  ## errors in ULP beside textbook NumPy
	$(PYTHON) -m fastsoftmax accuracy $(ARGS)

docs: build      ## docs/_build/html; warnings are errors, the examples are run
	$(PYTHON) tools/check_docs.py
	$(PYTHON) -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html

sanitize:        ## C programs and Python tests under sanitizers, races, valgrind: half an hour
	bash tools/sanitize.sh
	PYTHONPATH= bash tools/sanitize_python.sh
	bash tools/check_races.sh
	bash tools/check_recycle.sh
	bash tools/valgrind.sh

fuzz:            ## the Python functions on instrumented C; make fuzz SECONDS=3600
	PYTHONPATH= bash tools/fuzz.sh $(or $(SECONDS),60)

portability:     ## csrc for aarch64 under qemu, for Windows under Wine, with musl; wants Debian
	bash tools/test_neon.sh
	bash tools/check_windows.sh
	bash tools/test_systems.sh musl
	bash tools/test_systems.sh windows

compile_commands.json: $(SOURCES)  ## for clangd and other tools
	FASTSOFTMAX_COMPILE_COMMANDS=1 $(PYTHON) setup.py -q build_ext --inplace

clean:           ## remove what was built
	rm -rf build dist docs/_build docs/api/generated compile_commands.json
	rm -f src/fastsoftmax/_core.c src/fastsoftmax/_core.*.so

.PHONY: help develop build test lint typing race bench accuracy docs sanitize fuzz portability clean
