SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Static binaries: the images start from scratch.
export CGO_ENABLED ?= 0
PROGRAMS := fetcher normalizer productiv-publisher deprovisioner seatwire simulators
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
STAMP    := github.com/seatwire/seatwire/pkg/process
# The same sources make the same bytes: no paths, and the version from here alone.
GO_BUILD := go build -trimpath -buildvcs=false -ldflags '-s -w -X $(STAMP).version=$(VERSION) -X $(STAMP).revision=$(REVISION)'

.PHONY: help build images images-check compose-test demo test verify lint fmt generate tidy fuzz chaos simulate mutants bench clean tools

help: ## print this
	@grep -hE '^[a-z/-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

build: ## static binaries in bin/
	@mkdir -p bin
	@for p in $(PROGRAMS); do \
		$(GO_BUILD) -o bin/$$p ./services/$$p/cmd/$$p || exit 1; \
	done

images: build bin/cyclonedx-gomod ## container images of every program and of the NATS server; pulls nothing
	@$(GO_BUILD) -o bin/probe ./pkg/process/cmd/probe
	@$(GO_BUILD) -o bin/nats-server github.com/nats-io/nats-server/v2
	@VERSION=$(VERSION) REVISION=$(REVISION) deploy/images/build.sh $(PROGRAMS) nats-server

images-check: images ## builds the images once more, elsewhere and without a cache: the same layers must come out
	@VERSION=$(VERSION) REVISION=$(REVISION) deploy/images/check.sh $(PROGRAMS) nats-server

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
	gofmt -w pkg services deploy

generate: ## generated code
	go generate work

tidy: ## go.mod and go.sum of every module
	go work sync
	for m in $$(go list -m -f '{{.Dir}}'); do (cd $$m && go mod tidy); done
	GOWORK=off go -C deploy/tools/powerloss mod tidy

fuzz: ## every fuzz target for FUZZTIME (20s) each
	deploy/ci/fuzz.sh

chaos: ## every attack: kills, faults, simulations, fuzzing; CHAOS=20m is the time to spend
	deploy/ci/chaos.sh

compose-test: ## docker-compose.yml with faults: a NATS node, replicas and networks go; skipped without an engine
	deploy/ci/compose-test.sh

HISTORIES ?= 1000000
SEED ?= 1

simulate: ## random histories against the deciding code; HISTORIES=1000000 SEED=1, of each of the two simulations
	GOGC=400 go test -count=1 -v -timeout 0 -run 'TestSimulation$$' ./services/deprovisioner -histories=$(HISTORIES) -sim-seed=$(SEED) | grep --line-buffered -E 'histories|FAIL|I-'
	GOGC=400 go test -count=1 -v -timeout 0 -run 'TestSimulation$$' ./services/productiv-publisher -histories=$(HISTORIES) -sim-seed=$(SEED) | grep --line-buffered -E 'histories|FAIL|I-'

mutants: ## plants 35 bugs, one at a time, and says which test caught each
	go test -count=1 -v -timeout 0 -run TestMutants ./services/seatwire/mutants -mutants | grep -vE '^(===|    --- )'

bench: build ## the rates, each beside a peer in one run
	deploy/ci/bench.sh

tools: bin/golangci-lint bin/helm bin/kubectl-validate

# Built from the sources that deploy/tools/go.sum pins; the tools' modules never meet ours.
bin/golangci-lint bin/cyclonedx-gomod: deploy/tools/go.mod deploy/tools/go.sum
	@mkdir -p bin
	GOWORK=off go -C deploy/tools build -trimpath -buildvcs=false -o ../../bin/ $$(GOWORK=off go -C deploy/tools list -f '{{.ImportPath}}' tool | grep '/$(@F)$$')

# Modules of their own: the one wants the newest Kubernetes libraries, the other does not compile with them.
bin/helm bin/kubectl-validate: bin/%: deploy/tools/%/go.mod deploy/tools/%/go.sum
	@mkdir -p bin
	GOWORK=off go -C deploy/tools/$* build -o ../../../bin/ tool

clean: ## bin/
	rm -rf bin
