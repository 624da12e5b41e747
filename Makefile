# One command for each thing; `make help` lists them.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
export CGO_ENABLED ?= 0

LDFLAGS := -s -w
TOOL := $(GO) tool -modfile=tools/go.mod
SUMMARY := $(GO) run ./test/summary
ARGS ?=
SEED ?=

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/jobmanager, bin/taskmanager and bin/flinkctl (static)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/jobmanager ./cmd/taskmanager ./cmd/flinkctl

.PHONY: run
run: build ## run the orders job on a local cluster, kill a worker, compare the result (ARGS=--keep leaves it up)
	$(GO) run ./test/demo --bin bin $(ARGS)

.PHONY: test
test: ## unit, script, conformance and in-process cluster tests
	$(GO) test -json ./... | $(SUMMARY)

.PHONY: matrix
matrix: ## every test that uses streamtest.Check, every way it can run (LEAT_SEED=n repeats a run)
	LEAT_MATRIX=full $(GO) test -json -count=1 -timeout 60m ./stream/streamtest $$(git grep -l 'streamtest\.Check(' -- '*_test.go' | xargs -r -n1 dirname | sort -u | sed 's#^#./#') | $(SUMMARY)

.PHONY: race
race: ## the tests of the engine with the race detector, those of operators and state with memory poisoned that was given up; programs and proofs run without it, in make test
	CGO_ENABLED=1 $(GO) test -json -race -short -timeout 30m ./runtime/... ./state/... ./checkpoint/... ./operators/... ./connectors/... ./internal/... ./stream/... ./columnar/... ./launch/... | $(SUMMARY)
	$(GO) test -json -tags invariants -short ./columnar/... ./state/... ./operators/... | $(SUMMARY)

.PHONY: lint
lint: ## vet, gofmt and golangci-lint
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [[ -n $$bad ]]; then echo "not gofmt-ed: $$bad"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) golangci-lint run

.PHONY: gen
gen: ## regenerate all generated code
	PATH="$$PWD/build/tools:$$PATH" && mkdir -p build/tools && \
	$(GO) build -C tools -o ../build/tools/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc github.com/bufbuild/buf/cmd/buf && \
	build/tools/buf lint && build/tools/buf generate && $(GO) generate ./...

.PHONY: gen-check
gen-check: gen ## fail when generated code is stale
	@git diff --exit-code --stat -- $$(git grep -l '^// Code generated') || { echo "generated code is stale: run make gen and commit"; exit 1; }

BENCH_PACKAGES := ./dataflow/... ./columnar/... ./formats/... ./state/... ./operators/... ./runtime/exchange/... ./connectors/kafka/...
BENCH := $(GO) run ./bench/cmd/ordersbench --bin bin

.PHONY: bench
bench: build ## micro-benchmarks, and the orders job on both brokers beside a hand-written loop (writes bench/results)
	$(GO) test -run '^$$' -bench . -benchtime 1s $(BENCH_PACKAGES)
	$(BENCH) --out bench/results/exchange.txt exchange
	$(GO) run ./bench/cmd/patternsbench --out bench/results/patterns.txt
	$(BENCH) --out bench/results/start.txt startup memory
	$(BENCH) --out bench/results/orders-embedded.txt orders
	$(BENCH) --broker real --out bench/results/orders-kafka.txt orders
	$(BENCH) --broker real --compression snappy --out bench/results/orders-kafka-snappy.txt orders
	$(BENCH) --broker real --parallelism 2 --out bench/results/orders-kafka-p2.txt orders
	$(BENCH) --broker real --out bench/results/checkpoints.txt checkpoints

.PHONY: bench-patterns
bench-patterns: ## filter, count, windows and joins beside loops written by hand (ARGS="-only join -runs 3")
	$(GO) run ./bench/cmd/patternsbench $(ARGS)

.PHONY: bench-state
bench-state: ## 2 GiB of state on disk under a limit of 256 MiB, beside the database alone (writes bench/results)
	{ $(GO) run ./bench/cmd/machinebench && GOMEMLIMIT=256MiB $(GO) test -run '^$$' -bench LargeState -benchtime 1x -timeout 60m ./state/pebblestate -args -state-mib 2048; } | tee bench/results/pebble-state.txt

.PHONY: bench-memory
bench-memory: ## what 10 million keys in memory take, between and during snapshots (writes bench/results)
	{ $(GO) run ./bench/cmd/machinebench && $(GO) test -run '^$$' -bench TenMillionKeys -benchtime 1x ./state/memstate; } | tee bench/results/state-memory.txt

.PHONY: bench-deltas
bench-deltas: ## checkpoints of 1 GB of state of which 1 % changes, and a restore from 64 files (writes bench/results)
	{ $(GO) run ./bench/cmd/machinebench && $(GO) test -run '^$$' -bench Deltas -benchtime 1x -timeout 60m ./state/memstate -args -delta-keys 10000000; } | tee bench/results/state-deltas.txt
	{ $(GO) run ./bench/cmd/machinebench && GOMEMLIMIT=256MiB $(GO) test -run '^$$' -bench Deltas -benchtime 1x -timeout 60m ./state/pebblestate -args -delta-keys 10000000; } | tee bench/results/pebble-deltas.txt

.PHONY: bench-once
bench-once: ## run each benchmark once, so that none rots
	$(GO) test -run '^$$' -bench . -benchtime 1x $(BENCH_PACKAGES) >/dev/null

.PHONY: e2e
e2e: ## separate processes, real servers, SIGKILLs (SEED=n repeats a run; ARGS="-budget 12m -gaps 0")
	$(GO) test -count=1 -timeout 60m -v -tags e2e ./test/e2e $(if $(SEED),-seed $(SEED)) $(ARGS)

.PHONY: e2e-examples
e2e-examples: ## every program under examples/ on a cluster of processes, its worker killed in the middle (SEED=n)
	$(GO) test -count=1 -timeout 30m -v -tags e2e ./test/examples $(if $(SEED),-seed $(SEED))

.PHONY: e2e-k8s
e2e-k8s: build ## the orders job on a real one-node Kubernetes, pods killed (root; first build half an hour)
	bash test/k8s/e2e $(ARGS)

.PHONY: e2e-mutants
e2e-mutants: ## break the engine on purpose in five places; red unless tests notice each
	$(GO) test -count=1 -timeout 60m -v -tags mutants ./test/e2e/mutants

.PHONY: e2e-bounded
e2e-bounded: ## the part of e2e that CI runs: about 12 minutes
	$(GO) test -count=1 -timeout 30m -v -tags e2e ./test/e2e -budget 8m -rounds 6 -gaps 0 $(if $(SEED),-seed $(SEED))

# Decoders of what comes over a wire or from storage, each with its corpus.
FUZZ := checkpoint/manifest:FuzzDecode runtime/exchange/exchangegrpc:FuzzMessages runtime/task:FuzzInFlight \
	columnar:FuzzDecodeBatch dataflow/codec:FuzzDecode dataflow/codec:FuzzDecodeColumns dataflow/codec:FuzzDecodeKey \
	dataflow/codec:FuzzParseSchema state/statefile:FuzzRead runtime/bundle:FuzzRead runtime/rest:FuzzBodies
FUZZ_RUN = $(GO) test -run '^$$' -fuzzminimizetime 10x -parallel 2 -fuzztime

.PHONY: fuzz
fuzz: ## all fuzz targets, a minute each (FUZZTIME=10m)
	@git grep -o -E '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | while IFS=: read -r file func; do \
		echo "== $${file%/*} $${func#func }"; $(FUZZ_RUN) $(or $(FUZZTIME),1m) -fuzz "^$${func#func }\$$" "./$${file%/*}" || exit 1; done

.PHONY: fuzz-bounded
fuzz-bounded: ## the decoders of formats and wires, five seconds each; make test runs their corpora (FUZZTIME=1m)
	@for t in $(FUZZ); do echo "== $$t"; $(FUZZ_RUN) $(or $(FUZZTIME),5s) -fuzz "^$${t#*:}\$$" "./$${t%:*}" || exit 1; done

CHAOS := $(GO) test -count=1 -v -tags e2e ./test/chaos

.PHONY: chaos
chaos: ## a job on a cluster of namespaces in which everything fails at any time: half an hour, for each night (root; SEED=n FOR=30m ARGS="-faults kill,cut-workers")
	$(CHAOS) -timeout 120m -for $(or $(FOR),30m) $(if $(SEED),-seed $(SEED)) $(ARGS)

.PHONY: chaos-bounded
chaos-bounded: ## three minutes of it, and the tests of what it works with: what CI runs
	$(GO) test -count=1 -tags failpoints ./internal/clock ./internal/fault
	@if [ "$$(id -u)" = 0 ] && [ -c /dev/net/tun ] && unshare --mount --net --pid --ipc --fork true; then set -x; \
		$(GO) test -count=1 -tags e2e ./test/chaos/cage ./test/chaos/netlab ./test/chaos/s3front && \
		$(CHAOS) -timeout 20m -for $(or $(FOR),3m) $(if $(SEED),-seed $(SEED)) $(ARGS); \
	else echo "NOT TESTED: chaos needs root, namespaces and /dev/net/tun, which this machine does not give"; fi

.PHONY: kafka
kafka: ## the tests of the Kafka connector on a real Apache Kafka, which they kill
	dir=$$(mktemp -d) && trap 'test/servers/kafka stop --dir "$$dir" --wipe; rm -rf "$$dir"' EXIT && \
	export LEAT_KAFKA_DIR=$$dir && LEAT_KAFKA=$$(test/servers/kafka start --dir "$$dir" --port 19292) && export LEAT_KAFKA && \
	$(GO) test -json -count=1 -p 1 ./connectors/kafka/... | $(SUMMARY)

.PHONY: check
check: lint gen-check test race bench-once kafka e2e-examples e2e-bounded chaos-bounded ## what CI runs
