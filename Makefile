# gohd-live: `make run` and `make test` do all set-up themselves.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
OUT    ?= out
PORT   ?= 8080
comma  := ,

RUN_PACKAGES  := python3-venv libgl1 libglib2.0-0 libegl1 libgles2
TEST_PACKAGES := $(RUN_PACKAGES) chromium espeak-ng flite libasound2-data libportaudio2

.PHONY: help setup setup-test system-run system-test run demo test lint bench bench-gpu clean

help:
	@echo "make run     set up, then serve the live avatar on http://127.0.0.1:$(PORT)/"
	@echo "make test    set up, then lint and run every test"
	@echo "make demo    set up, then render the demo portrait speaking the demo voice to $(OUT)/demo.mp4"
	@echo "make lint    ruff, mypy and import-linter"
	@echo "make bench   latency of every stage on this machine's CPU, into benchmarks/results and README.md"
	@echo "make bench-gpu   everything that is measured on a graphics card, in ten minutes, likewise"
	@echo "make clean   remove the virtual environment and outputs"

# Debian packages: installed when root, named when not, left alone on other systems.
define ensure_packages
@if command -v dpkg-query >/dev/null 2>&1; then \
  missing=""; \
  for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
  if [ -n "$$missing" ]; then \
    if [ "$$(id -u)" = 0 ]; then \
      echo "Installing system packages:$$missing"; \
      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
    else \
      echo "Some system packages are missing. Should the next steps fail, run:"; \
      echo "  sudo apt-get install$$missing"; \
    fi; \
  fi; \
fi
endef

system-run:
	$(call ensure_packages,$(RUN_PACKAGES))

system-test:
	$(call ensure_packages,$(TEST_PACKAGES))

# Without an NVIDIA card torch goes in first and alone, so that nothing later pulls a CUDA build of it.
$(VENV)/.torch: | system-run
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@command -v nvidia-smi >/dev/null 2>&1 || $(BIN)/pip install -q --no-compile torch==2.13.0
	@touch $@

# pip would compile 15,000 modules on one core; compileall takes all. Templates among them are no Python: no error.
define install
$(BIN)/pip install -q --no-compile -e '$(1)'
@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
@touch $@
endef

$(VENV)/.installed: pyproject.toml $(VENV)/.torch
	$(call install,.)

$(VENV)/.installed-test: pyproject.toml $(VENV)/.torch | system-test
	$(call install,.[test$(comma)train])

setup: $(VENV)/.installed

setup-test: $(VENV)/.installed-test

run: setup
	$(BIN)/gohd serve --port $(PORT)

demo: setup
	@mkdir -p $(OUT)
	$(BIN)/gohd render engine/assets/portrait.jpg engine/assets/voice.wav -o $(OUT)/demo.mp4

# Tests that measure real time have the machine to themselves, after all others have shared its cores.
test: setup-test lint
	@status=0; \
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal -m "not realtime" || status=1; \
	$(BIN)/python -m pytest -m realtime || status=1; \
	exit $$status

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers auto
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python benchmarks/latency.py --device cpu --out benchmarks/results
	$(BIN)/python -m benchmarks.report.readme_table

# A card's benchmarks want its packages too; what is missing is listed in the report.
bench-gpu: setup
	$(BIN)/pip install -q -e '.[gpu,tensorrt]'
	$(BIN)/python -m benchmarks.gpu.suite --device cuda --out benchmarks/results
	$(BIN)/python benchmarks/latency.py --device cuda --preset paper --out benchmarks/results
	$(BIN)/python -m benchmarks.report.readme_table

clean:
	rm -rf $(VENV) $(OUT) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
