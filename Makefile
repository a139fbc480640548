SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Static binaries: the images start from scratch.
export CGO_ENABLED ?= 0
PROGRAMS := fetcher normalizer productiv-publisher deprovisioner seatwire simulators
VERSION  ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)

.PHONY: help build demo test verify lint fmt generate tidy fuzz chaos bench clean tools

help: ## print this
	@grep -hE '^[a-z/-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

build: ## static binaries in bin/
	@mkdir -p bin
	@for p in $(PROGRAMS); do \
		go build -trimpath -ldflags '-s -w' -o bin/$$p ./services/$$p/cmd/$$p || exit 1; \
	done

demo: build ## the story, against simulators; KEEP=1 stays up
	@bin/seatwire demo $(if $(KEEP),--keep,)

test: ## all tests, with the race detector
	CGO_ENABLED=1 go test -race -shuffle=on $$(go list work | grep -v /services/seatwire)
	@# Whole pipelines and real processes: one package at a time, for they fill the machine by themselves.
	CGO_ENABLED=1 go test -race -shuffle=on -p 1 ./services/seatwire/...

verify: tools ## formatting, linters, generated code, modules, chart
	deploy/ci/verify.sh

lint: bin/golangci-lint ## linters only
	deploy/ci/lint.sh

fmt: ## format
	gofmt -w pkg services

generate: ## generated code
	go generate work

tidy: ## go.mod and go.sum of every module
	go work sync
	for m in $$(go list -m -f '{{.Dir}}'); do (cd $$m && go mod tidy); done

fuzz: ## every fuzz target for FUZZTIME (20s) each
	deploy/ci/fuzz.sh

chaos: ## the fault bench with real processes; CHAOS=20m is the time to spend
	deploy/ci/chaos.sh

bench: build ## the rates, each beside a peer in one run
	deploy/ci/bench.sh

tools: bin/golangci-lint bin/helm bin/kubectl-validate

# Built from the sources that deploy/tools/go.sum pins; the tools' modules never meet ours.
bin/golangci-lint: deploy/tools/go.mod deploy/tools/go.sum
	@mkdir -p bin
	GOWORK=off go -C deploy/tools build -o ../../bin/ tool

# Modules of their own: the one wants the newest Kubernetes libraries, the other does not compile with them.
bin/helm bin/kubectl-validate: bin/%: deploy/tools/%/go.mod deploy/tools/%/go.sum
	@mkdir -p bin
	GOWORK=off go -C deploy/tools/$* build -o ../../../bin/ tool

clean: ## bin/
	rm -rf bin
