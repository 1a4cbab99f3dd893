# Targets for developers and for .ci/run. `make` lists each target whose line has a comment
# that starts with ##.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

FUZZTIME ?= 30s
ATTACKTIME ?= 5s
SOAKTIME ?= 10m
TESTTIMEOUT ?= 15m
TESTFLAGS ?=
BENCHFLAGS ?=
ATTACKFLAGS ?=
REDISBENCHTIME ?= 3s
WILDFLAGS ?=

# Tools run at the versions in tools/go.mod; Go builds them once and caches them.
GOTOOL := go tool -modfile=tools/go.mod

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: deps ## Run all tests with the race detector (TESTFLAGS='-run Name -v' to choose)
	go test -race -shuffle=on -timeout=$(TESTTIMEOUT) $(TESTFLAGS) ./...

# A simulation takes one processor, in virtual time. So those that take the most run beside the
# others.
LARGESIMULATIONS := ^TestSimulation(ManyPeers|ManyNamespaces|Mesh)$$

.PHONY: simulate simulate-large simulate-others
simulate: ## Run the simulations in full; make test runs smaller ones, with the race detector
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target simulate-large simulate-others

simulate-large:
	go test -run '$(LARGESIMULATIONS)' -shuffle=on -timeout=$(TESTTIMEOUT) $(TESTFLAGS) .

simulate-others:
	go test -run '^TestSimulation' -skip '$(LARGESIMULATIONS)' -shuffle=on -timeout=$(TESTTIMEOUT) $(TESTFLAGS) .

# The servers and tools that tests start: found on the machine, or installed from Debian's
# packages.
.PHONY: deps
deps: ## Find or install the servers that tests start
	.ci/deps
	.ci/deps-redis

# All checks run even if one fails, so that one run shows all problems.
LINTS := lint-code lint-vet lint-modules lint-generated lint-scripts lint-vulns

.PHONY: lint $(LINTS)
lint: ## Check code, modules, generated code, scripts and known vulnerabilities
	@$(MAKE) --no-print-directory --keep-going $(LINTS)

lint-code:
	$(GOTOOL) golangci-lint config verify
	$(GOTOOL) golangci-lint run ./...
	go -C tools tool golangci-lint run ./...

lint-vet:
	go vet ./...
	GOARCH=386 go vet ./...
	GOOS=windows GOARCH=amd64 go vet ./...
	GOOS=darwin GOARCH=arm64 go vet ./...
	go -C tools vet ./...

lint-modules:
	go mod tidy -diff
	go -C tools mod tidy -diff

lint-generated:
	.ci/check-generated

lint-scripts:
	.ci/check-scripts

lint-vulns:
	.ci/check-vulns

.PHONY: fmt
fmt: ## Format all Go code
	$(GOTOOL) golangci-lint fmt

.PHONY: generate
generate: ## Write the generated code anew
	go generate ./...

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (30s) each
	@.ci/fuzz $(FUZZTIME)

.PHONY: cover
cover: ## Measure test coverage, in total here and line by line in coverage.html
	go test -timeout=$(TESTTIMEOUT) -coverpkg=./... -coverprofile=coverage.all $(TESTFLAGS) ./...
	grep -v '\.pb\.go:' coverage.all >coverage.out
	go tool cover -html=coverage.out -o coverage.html
	go tool cover -func=coverage.out | tail -n 1

.PHONY: demo
demo: ## Run a small network in one process and watch its peers find each other
	go run ./examples/demo

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: build
build: ## Build the rendezvous command into bin/
	CGO_ENABLED=0 go build -o bin/rendezvous ./cmd/rendezvous

.PHONY: release
release: $(PLATFORMS:%=bin/release/%) ## Build it for Linux, macOS and Windows into bin/release/

bin/release/%: .FORCE
	GOOS=$(@D:bin/release/%=%) GOARCH=$(@F) CGO_ENABLED=0 \
		go build -trimpath -ldflags='-s -w' -o bin/release/rendezvous-$(subst /,-,$*)$(if $(filter windows/%,$*),.exe) ./cmd/rendezvous

.PHONY: .FORCE
.FORCE:

.PHONY: bench
bench: ## Compare the cost of a point with that of an echo (BENCHFLAGS=-quick for less)
	mkdir -p bin
	go build -o bin/bench ./cmd/internal/bench
	bin/bench -json bin/bench.json $(BENCHFLAGS)

.PHONY: bench-storage
bench-storage: ## Measure the storage with a thousand and a million registrations
	go run ./cmd/internal/benchstorage

.PHONY: bench-redis
bench-redis: deps ## Measure the storage on Redis, Valkey and a cluster
	go test -run '^$$' -bench . -benchtime $(REDISBENCHTIME) ./redisstorage

.PHONY: attack
attack: ## Attack a point on loopback, for ATTACKTIME (5s) per attack, and measure honest requests
	go run ./cmd/internal/attack -time $(ATTACKTIME) $(ATTACKFLAGS)

.PHONY: attack-redis
attack-redis: deps ## The same with the registrations on Redis
	go run ./cmd/internal/attack -time $(ATTACKTIME) -storage redis $(ATTACKFLAGS)

.PHONY: soak
soak: ## Run all attacks while honest peers come and go, for SOAKTIME (10m), and look for growth
	go run ./cmd/internal/attack -time $(ATTACKTIME) -soak $(SOAKTIME)

.PHONY: wild
wild: deps ## Break real networks, in namespaces with NATs, and measure how long peers are missing (WILDFLAGS=-short for less)
	mkdir -p bin
	CGO_ENABLED=0 go build -o bin/rendezvous ./cmd/rendezvous
	go build -o bin/wild ./cmd/internal/wild
	PATH="$$PATH:/usr/sbin:/sbin" bin/wild $(WILDFLAGS)

.PHONY: interop
interop: deps ## Run clients of other libp2p implementations against points, and a server of one against Client
	.ci/deps-node
	cd interop && npm ci && npm run build
	mkdir -p bin
	CGO_ENABLED=0 go build -o bin/rendezvous ./cmd/rendezvous
	go run ./cmd/internal/interop

.PHONY: profile
profile: ## Show where the time of a REGISTER and of a DISCOVER goes
	mkdir -p bin
	go build -o bin/bench ./cmd/internal/bench
	bin/bench -profile bin
	for request in register discover; do \
		go tool pprof -top -cum -nodecount=45 -focus='instance..handle' bin/bench bin/$$request.pprof; \
	done

.PHONY: clean
clean: ## Remove what the targets leave in the tree
	rm -rf coverage.* *.test *.prof bin interop/node_modules
