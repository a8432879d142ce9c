# A bare `make` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
# Moved, turned and scaled a little, as drawings are; about half a minute on two cores.
DRAWN := model=lenet augment=affine trainer.max_epochs

.DEFAULT_GOAL := help
.PHONY: help setup demo draw train test lint format lock bench notebooks tensorboard clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed ## create .venv with everything in requirements.txt

# The stamp is newer than what it was installed from, so a second call installs nothing.
.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: setup ## train LeNet on bundled digits: no download, under a minute
	$(BIN)/python -m mnist_lab.train data=digits trainer.max_epochs=15

draw: setup ## train LeNet for a minute, on MNIST if it can be had, and draw on it in the browser
	$(BIN)/python -m mnist_lab.train $(DRAWN)=6 hydra.run.dir=outputs/draw || \
		$(BIN)/python -m mnist_lab.train $(DRAWN)=30 data=digits hydra.run.dir=outputs/draw_digits
	run=outputs/draw; test -e $$run/result.json || run=outputs/draw_digits; \
		$(BIN)/python -m mnist_lab.export checkpoint=$$run output=$$run/draw.html overwrite=true && \
		$(BIN)/python -m webbrowser "file://$(CURDIR)/$$run/draw.html"

train: setup ## train on MNIST: make train ARGS="model=bn_cnn trainer.max_epochs=4"
	$(BIN)/python -m mnist_lab.train $(ARGS)

test: setup ## the tests but for the slow ones: make test ARGS="-k loader"; all: ARGS=--slow
	$(BIN)/python -m pytest $(ARGS)

lint: setup ## ruff, mypy, which room may import which, and biome for the page's JavaScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/biome check .

format: setup ## sort imports and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup ## renew requirements.txt from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --upgrade --python-version 3.11 \
		--all-extras --no-emit-index-url --no-header --output-file requirements.txt pyproject.toml

bench: setup ## time everything in docs/performance.md: make bench DEVICE=cuda ARGS="--only speedrun"
	$(BIN)/python -m benchmarks --device $(or $(DEVICE),cpu) $(ARGS)

notebooks: setup ## execute the notebooks anew: make notebooks ARGS=explore_data.ipynb
	$(BIN)/python notebooks/execute.py $(ARGS)

tensorboard: setup ## browse all runs
	$(BIN)/tensorboard --logdir outputs

clean: ## remove the environment and caches; data and runs stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
