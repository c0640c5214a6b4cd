# Every target is safe to call on a fresh machine with Python 3.11: they all call `setup` first.
PYTHON ?= python3.11
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo test check slow types format serve clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## Make .venv with lockwatch in it; Debian packages too when root
	@PYTHON=$(PYTHON) .ci/setup

demo: setup ## Play the whole loop on this machine, then leave the dashboard open
	$(BIN)/lockwatch demo

test: setup check ## Set up and pass every test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

check: setup ## Format, lint, import contracts and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

slow: setup ## The long simulations of error rates
	$(BIN)/python -m pytest -q -n 2 -m slow

types: setup ## mypy alone
	$(BIN)/mypy

format: setup ## Format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what was built
	rm -rf .venv demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
