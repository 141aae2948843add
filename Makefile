# The commands of the project. Each does its own set-up; those that touch the network run as root.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
LDFLAGS := -s -w -X main.version=$(VERSION)
PKGS    := ./...
# All but the whole agents in namespaces.
UNITS    = $$($(GO) list ./... | grep -v -e /thrift/gen/ -e /tests$$ -e /tests/)
BENCH   ?= .
FUZZTIME ?= 60s
CHAOS    ?= 10m

.PHONY: all build demo demo-endpoint test test-endpoint bench-endpoint unit lint race fuzz fuzz-once seeds sim chaos namespaces gen gen-check bench bench-fib bench-load compare ca deb rpm test-systemd test-systemd-fast setup clean help

all: build

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

build: ## build the static binaries bin/openr and bin/breeze
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/openr ./cmd/breeze

demo: setup build ## four routers in four namespaces: routes, a ping across, then look around yourself
	./scripts/demo.sh

demo-endpoint: setup build ## a fabric with hosts: one moves, one is in a loop, a spine's agent is killed
	./scripts/demo-endpoint.sh

test: setup lint gen-check race ## all tests but the longest (sim, chaos, fuzz, test-systemd): under 25 minutes on 2 cores
	./scripts/whole.sh
	@echo "all tests passed"

lint: ## gofmt, go vet, staticcheck
	@bad=$$(git ls-files '*.go' | grep -v '^thrift/gen/' | xargs gofmt -l); \
		if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi
	$(GO) vet $(PKGS)
	$(GO) tool staticcheck $$($(GO) list $(PKGS) | grep -v /thrift/gen/)
	@for script in scripts/*.sh bench/*.sh thrift/generate.sh packaging/*.sh packaging/scripts/*.sh tests/systemd/*.sh; do sh -n $$script || exit 1; done

unit: ## the tests of the packages, without the race detector
	$(GO) test $(UNITS)

race: ## the tests of the packages under the race detector
	./scripts/gotest.sh -race $(UNITS)

namespaces: ## whole agents in network namespaces, as built and with the race detector
	./scripts/gotest.sh -count=1 -timeout 20m -tags endpoint ./tests
	OPENR_TEST_RACE=1 ./scripts/gotest.sh -count=1 -timeout 20m ./tests

seeds: ## 200 bad nights of a simulated network of 100 nodes
	./scripts/sim.sh seeds 200

sim: ## networks of up to 1,024 simulated agents: bad nights, growth, a day of churn
	./scripts/sim.sh seeds 200
	./scripts/sim.sh thousand
	./scripts/sim.sh growth
	./scripts/sim.sh soak

chaos: setup ## ten minutes of random failures in namespaces, with traffic; or CHAOS=2m
	./scripts/chaos.sh $(CHAOS)

fuzz-once: ## each fuzz target for a fixed number of inputs
	./scripts/fuzz.sh 1000x

fuzz: ## each fuzz target for a minute, or for FUZZTIME=10s
	./scripts/fuzz.sh $(FUZZTIME)

gen: setup ## regenerate the Thrift code
	./thrift/generate.sh

gen-check: setup ## fail if the committed Thrift code is not what the compiler makes
	./scripts/gen-check.sh

test-endpoint: setup ## the endpoint directory in whole agents
	$(GO) test -count=1 -tags endpoint -run TestEndpoint ./tests

bench-endpoint: build ## what traffic between hosts loses when they move, loop, or an oracle dies
	./bench/endpoint.py

bench: setup build ## the benchmarks of the packages
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(UNITS)

bench-fib: build ## routes into the kernel beside ip and a C program; local failover beside FRR and BIRD
	./bench/fib.sh 3
	./scripts/compare.sh failover

bench-load: build ## whole networks injected into one agent from outside, until the kernel has the routes; as the README of bench/ says
	for what in "--topo grid:100x100" "--topo grid:32x32 --prefixes 10" "--kv 100000"; do \
		bench/inject.py --cmd 'bin/openr --config {conf}' --rpc rocket --brief $$what 2>/dev/null || exit 1; done
	bench/inject.py --floor

compare: build ## convergence beside FRR and BIRD, in one run: 25 minutes; writes docs/benchmarks.md and docs/compare.svg
	./scripts/compare.sh

ca: build ## a certificate authority and certificates for tests: make ca DIR=/tmp/ca NAMES="leaf-1 leaf-2"
	./bin/openr lab ca $(or $(DIR),$(error say where: DIR=...)) $(addprefix --name ,$(NAMES))

deb: ## Debian packages for amd64 and arm64, in dist/
	./packaging/build.sh deb

rpm: ## RPM packages for amd64 and arm64, in dist/
	./packaging/build.sh rpm

test-systemd-fast: setup ## restarts under a real systemd: a minute, part of make test
	./scripts/gotest.sh -count=1 -timeout 10m -run '^(TestQuick|TestUnit)$$' ./tests/systemd

test-systemd: setup ## packages and restarts under a real systemd in a container: all of it; make test has the fast ones
	$(GO) test -count=1 -timeout 30m ./tests/systemd

setup: ## install what the other targets need (Debian, as root)
	@./scripts/setup.sh

clean: ## remove what was built
	rm -rf bin dist
