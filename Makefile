# `make help` lists what there is.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
# At most so many packages are built or tested at once.
JOBS      ?= 2
FUZZTIME  ?= 5s
DEFINITION ?= examples/web.json

CACHE     := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/ecsagent
# The programs, as they come: each folder below a cmd folder.
PROGRAMS  := $(wildcard agent/cmd/* controlplane/cmd/* ecsinit/cmd/* cni/cmd/*)
PLATFORMS := linux/amd64 linux/arm64 windows/amd64
# Other people's programs, for a test: a module of its own, which ./... does not enter.
CLIENTS   := tests/clients
# gRPC's module, another one.
GRPC      := tests/clients/grpc
# Packages with tests for what runs on Windows: not those of ecs-local, ecs-init and the
# plugins of Linux, nor of what reads files or speaks to daemons that Linux alone has.
WINDOWS    = $(filter-out %/resource/ebs %/gmsa/fetcher %/stats/kernel,$(shell GOOS=windows $(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./agent/... ./cni/plugin ./cni/vpceni ./cni/vswitch ./platform_windows/... ./packaging/pause/cmd/pause-build ./packaging/pause/cmd/pause-windows))
# Packages without a Docker engine behind them.
QUICK      = $(shell $(GO) list ./... | grep -v -E '/tests/(e2e|bench|fault)$$')
# Packages that are tested under the race detector: neither those whose tests are about other
# programs, nor one that is started a hundred times.
RACED      = $(filter-out %/ecsinit/cmd/ecs-init,$(shell $(GO) list ./... | grep -v /tests/))

# What ships needs no C library. The same flags everywhere, so that vet, the linters, tests
# and builds share what they compile.
export CGO_ENABLED := 0
export GOFLAGS     := $(filter-out -trimpath,$(GOFLAGS)) -trimpath

VERSION   ?= $(shell git describe --tags --match 'v[0-9]*' --abbrev=0 2>/dev/null | sed 's/^v//' | grep . || echo 0.1.0)
COMMIT    := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DIRTY     := $(shell [ -z "$$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || echo true)
LDFLAGS   := -s -w -X main.version=$(VERSION) -X ecsagent/agent/version.number=$(VERSION) -X ecsagent/agent/version.commit=$(COMMIT) -X ecsagent/agent/version.dirty=$(DIRTY)
BUILD      = $(GO) build -p $(JOBS) -ldflags '$(LDFLAGS)'

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(CACHE)/tools/golangci-lint-$(GOLANGCI_VERSION)

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

NFPM_VERSION := v2.45.0
NFPM         := $(CACHE)/tools/nfpm-$(NFPM_VERSION)

.PHONY: build
build: ## build all programs into bin/, and on Linux the pause image
	$(BUILD) -o bin/ $(addprefix ./,$(PROGRAMS))
ifeq ($(shell uname -s),Linux)
	@scripts/deps build
	@GO=$(GO) scripts/pause bin
endif

.PHONY: package
package: $(NFPM) ## build packages and the agent's image into bin/packages/ (OUT=folder, ARCHS="amd64 arm64", FORMATS="deb rpm image zip")
	@scripts/deps package
	@GO=$(GO) VERSION='$(VERSION)' BUILD="$(BUILD)" NFPM='$(NFPM)' FORMATS='$(or $(FORMATS),deb rpm image zip)' scripts/package $(or $(OUT),bin/packages) $(or $(ARCHS),amd64 arm64)

$(NFPM):
	GOBIN=$(CACHE)/tools $(GO) install -p $(JOBS) github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)
	mv $(CACHE)/tools/nfpm $@

.PHONY: nfpm
nfpm: $(NFPM) # an rpm by the description in CONFIG, into TARGET
	@SOURCE_DATE_EPOCH=0 $(NFPM) package --config '$(CONFIG)' --packager rpm --target '$(TARGET)'

.PHONY: examples
examples: ## build the example programs into bin/examples/
	$(BUILD) -o bin/examples/ ./examples/web ./examples/demo

.PHONY: run
run: build examples ## run DEFINITION (examples/web.json) through ecs-local and ecs-agent until Ctrl-C; ONCE=1 stops it at once
	@exec bin/examples/demo -definition $(DEFINITION) $(if $(filter-out 0,$(ONCE)),-once)

.PHONY: test
test: ## set everything up and run unit, property and integration tests (RUN=regexp, PKG=./...; RACE=1: all, unit tests under the race detector)
	@scripts/deps test
	@scripts/engine with $(MAKE) --no-print-directory test-with-engine

.PHONY: test-with-engine
test-with-engine: TEST = $(GO) test -vet=off -p $(JOBS) -parallel 4 -count=1 -timeout 20m $(if $(RUN),-run '$(value RUN)')
test-with-engine: # run by test; DOCKER_HOST is set. -count=1: go test does not see that the programs changed; -vet=off: make vet is there
	@export ECS_TEST_DOCKER_HOST="$$DOCKER_HOST" AWS_EC2_METADATA_DISABLED=true; unset DOCKER_HOST; \
	$(if $(filter-out 0,$(RACE)),CGO_ENABLED=1 $(TEST) -race $(RACED) && $(TEST) $(filter-out $(RACED),$(shell $(GO) list ./...)),$(TEST) $(or $(PKG),./...))

.PHONY: matrix
matrix: ## kill the agent at every failpoint, against a real engine (RUN=regexp; make test does a fifth of it)
	@scripts/deps test
	@scripts/engine with sh -c 'ECS_TEST_DOCKER_HOST="$$DOCKER_HOST" DOCKER_HOST= AWS_EC2_METADATA_DISABLED=true \
		$(GO) test ./tests/fault -count=1 -parallel 4 -timeout 60m -v $(if $(RUN),-run "$(value RUN)") -matrix'

.PHONY: soak
soak: ## random tasks under random faults for FOR (10m), drawn from SEED; RECORD=file keeps every message
	@scripts/deps test
	@scripts/engine with sh -c 'ECS_TEST_DOCKER_HOST="$$DOCKER_HOST" DOCKER_HOST= AWS_EC2_METADATA_DISABLED=true \
		$(GO) test ./tests/fault -count=1 -timeout 0 -v -run TestSoak -soak $(or $(FOR),10m) -seed $(or $(SEED),0) $(if $(RECORD),-record $(abspath $(RECORD)))'

.PHONY: unit
unit: ## run the tests that need no Docker engine
	$(GO) test -p $(JOBS) $(QUICK)

.PHONY: test-windows
test-windows: ## run the agent's tests on Windows, played by Wine (RUN=regexp, PKG=./agent/store)
	@scripts/wine setup
	@packages="$(filter-out ./tests/wine,$(or $(PKG),$(WINDOWS)))" && \
		if [ -n "$$packages" ]; then GOOS=windows GOARCH=amd64 $(GO) test -p $(JOBS) -timeout 10m -vet=off \
			-exec "$(CURDIR)/scripts/wine exec" $(if $(RUN),-run '$(value RUN)') $$packages; fi
ifneq ($(if $(PKG),$(filter ./tests/wine,$(PKG)),all),)
	@programs=$$(mktemp -d) && trap 'rm -rf "$$programs"' EXIT && \
		$(GO) build -p $(JOBS) -o "$$programs/" ./controlplane/cmd/ecs-local && \
		GOOS=windows GOARCH=amd64 $(BUILD) -o "$$programs/" ./agent/cmd/ecs-agent ./cni/cmd/ecs-cni && \
		ECS_TEST_WINDOWS_PROGRAMS="$$programs" $(GO) test -count=1 $(if $(RUN),-run '$(value RUN)') ./tests/wine
endif

.PHONY: race
race: ## run the unit tests that need no Docker engine under the race detector
	CGO_ENABLED=1 $(GO) test -race -vet=off -p $(JOBS) -timeout 15m $(RACED)

.PHONY: test-grpc
test-grpc: ## try the client of credentials-fetcher on a server of gRPC's own module
	$(GO) test -C $(GRPC) -p $(JOBS) ./...

.PHONY: bench
bench: build ## measure speed against a plain Docker client and print a table (ROUNDS=n, ONLY=start,idle,tasks,plugins,awsvpc,stopping,secrets,calls,endpoint,usage,restart)
	@scripts/deps test
	@scripts/engine with $(GO) run ./tests/bench -programs bin $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(ONLY),-only $(ONLY))

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (5s), or those of PKG="./agent/config ..."
	@GO=$(GO) scripts/fuzz $(FUZZTIME) $(PKG)

.PHONY: vet
vet: ## go vet for every platform
	@for p in $(PLATFORMS); do echo "vet $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet -p $(JOBS) ./...; done
	@for m in $(CLIENTS) $(GRPC); do echo "vet $$m"; $(GO) vet -C $$m -p $(JOBS) ./...; done

.PHONY: cross
cross: ## build every program for every platform, into nothing
	@for p in $(PLATFORMS); do echo "build $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o /dev/null $(addprefix ./,$(PROGRAMS)); done

.PHONY: lint
lint: $(GOLANGCI) ## run the linters of .golangci.yml
	$(GOLANGCI) run --concurrency $(JOBS) ./...

$(GOLANGCI):
	GOBIN=$(CACHE)/tools $(GO) install -p $(JOBS) github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(CACHE)/tools/golangci-lint $@

.PHONY: fmt-check
fmt-check: ## fail when a file is not formatted by gofmt
	@files=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -l) && [ -z "$$files" ] || { echo "gofmt these:"; echo "$$files"; exit 1; }

.PHONY: fmt
fmt: ## format every file
	gofmt -w $$(git ls-files --cached --others --exclude-standard '*.go')

.PHONY: clean
clean: ## remove what was built (tools stay in ~/.cache/ecsagent/tools)
	rm -rf bin
