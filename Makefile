# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
SHELL := /bin/sh
.NOTPARALLEL:
.DEFAULT_GOAL := help

export INVENTORY LIMIT LOG
# Only make -C leaves the folder of the caller, and sets the flag w unless told not to; without it $PWD may be anything.
export CALLED_FROM := $(if $(findstring w,$(firstword -$(MAKEFLAGS)))$(filter --no-print-directory,$(MAKEFLAGS)),$(PWD),$(CURDIR))

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: diagnose
diagnose: ## say what is wrong: INVENTORY=hosts.yml LIMIT=web1 ARGS='-e mastodon_language=fr'; without INVENTORY a recorded demo
	@tools/setup run
	@tools/diagnose $(ARGS)

.PHONY: remediate
remediate: ## cure what is allowed: INVENTORY=hosts.yml LIMIT=web1 ARGS='--check --diff' or ARGS='-e mastodon_remediate_impact=change'
	@tools/setup run
	@tools/remediate $(ARGS)

.PHONY: rollback monitor
rollback: ## take a remediation back: INVENTORY=hosts.yml LIMIT=web1 ARGS='-e run=ID'
	@tools/setup run
	@tools/rollback $(ARGS)
monitor: ## keep watch over the servers: INVENTORY=hosts.yml ARGS='-e mastodon_monitor_state=absent' takes it away again
	@tools/setup run
	@tools/monitor $(ARGS)

.PHONY: test lint unit sanity testbed browser molecule live thorough bench
test: ## everything below from lint to live, as CI runs it (under 30 minutes on two cores)
	@tools/test
lint: ## ruff, mypy, yamllint, ansible-lint, shellcheck, change log
	@tools/test lint
unit: ## unit tests
	@tools/test unit
sanity: ## ansible-test sanity on the oldest and the newest supported ansible-core
	@tools/test sanity
testbed: ## container engine and the images of the stand-in Mastodon servers
	@tools/test testbed
browser: ## the HTML report in headless Chromium
	@tools/test testbed browser
molecule: ## healthy servers, diagnosed twice: nothing found, nothing changed
	@tools/test testbed molecule
live: ## one real fault after the other, each in a fresh server: named; five of them cured, proven, taken back
	@tools/test testbed live
thorough: ## the same in both releases, with the cures that take long and every special case of every fix, and all of sanity (hours)
	@tools/test testbed thorough
bench: ## the figures that must hold, printed
	@tools/test testbed bench

.PHONY: trace
# An id may come from a stranger: it is judged before make or a shell could expand it.
ifneq ($(findstring $$,$(value REQUEST_ID)),)
$(error REQUEST_ID is what the header X-Request-Id says: letters, digits, _, - and @)
endif
trace: ## one request through the logs of all hosts: REQUEST_ID=id INVENTORY=hosts.yml ARGS='-e mastodon_trace_since=7d'
	@tools/setup run
	@tools/trace $(ARGS)

.PHONY: explain corpus
explain: ## name what pasted log lines show: LOG=file ARGS='-e mastodon_log_origin=sidekiq -e mastodon_version=4.3.2'; no server needed
	@tools/setup run
	@tools/explain $(ARGS)
corpus: ## recall and precision on logs with known causes: CORPUS=file; without it the repository's own
	@tools/setup run
	@.venv/bin/python tools/corpus $(CORPUS)

.PHONY: demo-record build clean
demo-record: ## record the demo's facts anew from the testbed
	@tools/test testbed demo-record
build: ## the collection as a tarball
	@tools/setup run
	@tools/build
clean: ## remove the virtual environment, caches and tarballs of this checkout
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis fediops-mastodon-*.tar.gz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
