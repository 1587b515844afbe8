# dfs: one drive made of many machines. `make` alone prints the targets.
GO      ?= go
BIN     := bin
PEERS   ?= 3
RUN     ?= run
FUZZ    ?= 5s
TALLY   := $(BIN)/tally

.DEFAULT_GOAL := help
# tally is built, not `go run`, so that its count stays the last line also when tests fail.
.PHONY: tally
tally:
	@$(GO) build -o $(TALLY) ./integration/tally

.PHONY: help build run test check race fuzz bench soak sim windows clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## dfsd, dfsplane and dfsctl into bin/
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -o $(BIN)/ ./cmd/dfsd ./cmd/dfsplane ./cmd/dfsctl

run: build ## a cluster of PEERS=3 real peers in RUN=run; Ctrl-C ends it
	$(BIN)/dfsd dev --peers $(PEERS) --dir $(RUN)

test: tally ## everything CI checks: check, all tests, every fuzz target for FUZZ=5s
	@$(TALLY) -check -fuzz $(FUZZ) ./...

check: tally ## gofmt, vet for Linux and Windows, staticcheck, the rules of the tree
	@$(TALLY) -check ./integration/rules/...

race: tally ## all tests under the race detector
	CGO_ENABLED=1 $(TALLY) -race ./...

fuzz: tally ## every fuzz target for FUZZ=5s (make fuzz FUZZ=1m)
	@$(TALLY) -run '^$$' -fuzz $(FUZZ) ./...

bench: build ## ext4, a plain FUSE loopback and a three-peer dfs in one run (root)
	@integration/bench/run.sh

soak: tally ## the long versions of the integration tests and of the histories of the control plane
	DFS_SOAK=1 $(TALLY) -timeout 2h ./integration/... ./sched/plane

sim: ## the coherence simulator on thousands of seeds; make sim SEED=n replays one
ifdef SEED
	$(GO) test -count=1 -v -run '^TestSim$$' ./fs/coherence/sim -sim.seed=$(SEED) -sim.runs=1
else
	DFS_SOAK=1 $(GO) test -count=1 -timeout 30m -v -run '^TestSim$$' ./fs/coherence/sim
endif

windows: ## vet and build everything for Windows, amd64 and arm64
	GOOS=windows CGO_ENABLED=0 $(GO) vet ./...
	@mkdir -p $(BIN)/windows
	GOOS=windows CGO_ENABLED=0 $(GO) build -o $(BIN)/windows/ ./cmd/dfsd ./cmd/dfsplane ./cmd/dfsctl
	@mkdir -p $(BIN)/windows-arm64
	GOOS=windows GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o $(BIN)/windows-arm64/ ./cmd/dfsd ./cmd/dfsplane ./cmd/dfsctl

clean: ## remove bin/ (data of `make run` in run/ stays)
	rm -rf $(BIN)
