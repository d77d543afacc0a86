# A thin front end: the scripts in tests/setup do the work, and each of them can be run by itself.
.DEFAULT_GOAL := help
.PHONY: help run test drills setup model build bench

help: ## Shows this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

run: ## Sets up what is missing, builds the page and serves it on http://127.0.0.1:8080 (PORT=n for another port)
	@bash tests/setup/run.sh

test: ## Runs every check: format, lints, structure, native, in the browser, and the built page as a person uses it
	@bash tests/setup/test.sh

drills: ## Runs the random and long tests with many more rounds; takes hours
	@bash tests/setup/drills.sh

setup: ## Installs what is missing: toolchain target, pinned tools into .tools
	@bash tests/setup/tools.sh

model: ## Fetches the bundled model into .material
	@bash tests/setup/model.sh

build: ## Sets up what is missing and builds the page into dist
	@bash tests/setup/build.sh

bench: ## Compares the engine with others in one browser (ARGS="--only step --repetitions 3"; ARGS=--help lists more)
	@bash tests/setup/bench.sh $(ARGS)
