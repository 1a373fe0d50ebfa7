# Targets do what they need by themselves: on a clean clone with Go, make and git, any one works.
# `make help` lists them.

GO     ?= go
DOCKER ?= docker
BIN    ?= bin
PKGS   ?= ./...
TOOL   := $(GO) tool -modfile=.ci/tools.mod
# Folder of a Go vulnerability database, which has db/ in it: make vuln VULNDB=DIR
VULNDB ?=
# Folder of the pjdfstest suite, built: make pjdfstest PJDFSTEST=DIR
PJDFSTEST ?=
OUT    ?=
# Flags of wh-bench, as in: make bench-data BENCH="-rounds 5 -what d1,d2 -o docs/bench/data.md"
BENCH  ?=
# Flags that choose planted bugs, as in: make mutants MUTANTS="-in pkg/state -from join"
MUTANTS ?=

.DEFAULT_GOAL := help
.PHONY: help setup build test test-short race demo bench bench-visible bench-data bench-between bench-tree bench-catchup bench-fragments bench-mount bench-profile bench-signatures bench-idle bench-status crash fsx programs gc-race storm powerloss pairs care dht man completions deb image pjdfstest mutants lint fmt vuln cross fuzz sim sim-time clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## download the modules and check them
	$(GO) mod download
	$(GO) mod verify

build: ## build bin/wh and the tools beside it
	$(GO) build -trimpath -o $(BIN)/ ./cmd/...

test: ## all tests
	$(GO) test -timeout 20m $(PKGS)

test-short: ## the quick tests
	$(GO) test -short $(PKGS)

race: ## the quick tests under the race detector; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race -short -timeout 25m $(PKGS)

demo: build ## three pods on this machine: import, edit, lose one, compare every byte
	$(BIN)/wh-demo

bench: ## all benchmarks, a second each
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)

bench-visible: build ## how soon other pods see a change; root and /dev/fuse
	$(BIN)/wh-bench visible

bench-data: build ## add and get beside cp, Kubo, restic and desync, as far as they are on PATH, in turn; BENCH: flags
	$(BIN)/wh-bench $(BENCH) data

bench-between: build ## how fast what one node has comes to another, beside Kubo and Syncthing as far as they are on PATH, in turn; BENCH: flags
	$(BIN)/wh-bench $(BENCH) between

bench-tree: build ## a tree of a million files: memory, start, listing, changes; root and /dev/fuse; BENCH: flags
	$(BIN)/wh-bench $(BENCH) tree

bench-catchup: build ## how a new or returning pod catches up; BENCH: flags, as -tree 1000000
	$(BIN)/wh-bench $(BENCH) catchup

bench-fragments: build ## how fast bytes become fragments on six pods, and are read; BENCH: flags, as -bytes 536870912
	$(BIN)/wh-bench $(BENCH) fragments

bench-mount: build ## the mount beside a FUSE file system that does nothing, the disk, and JuiceFS if it is on PATH; root and /dev/fuse; BENCH: flags
	$(BIN)/wh-bench $(BENCH) mount

bench-profile: build ## where the daemon's CPU time goes in add and get; BENCH: flags
	$(BIN)/wh-bench $(BENCH) profile

bench-signatures: build ## what part of two daemons' CPU time goes into signatures while one adds and the other takes copies; BENCH: flags
	$(BIN)/wh-bench -what d1,d2,d3,changes $(BENCH) signatures

bench-idle: build ## what eleven daemons take at rest, each connected to all others; Linux; BENCH: flags, as -tree 100000 -settle 15m
	$(BIN)/wh-bench $(BENCH) idle

bench-status: build ## how soon wh status answers with a million files and 64 pods; BENCH: flags
	$(BIN)/wh-bench $(BENCH) status

crash: build ## kill the daemon under load ROUNDS (20) times, with PODS (1); root and /dev/fuse
	$(BIN)/wh-crash -rounds $${ROUNDS:-20} -pods $${PODS:-1}

fsx: build ## random operations on mounts, of one pod, on a large file, of three, over restarts, and on names: OPS (2000000) or FSXTIME of each, EXAMPLES (1000); root and /dev/fuse
	$(BIN)/wh-fsx -ops $${OPS:-2000000} -examples $${EXAMPLES:-1000} -time $${FSXTIME:-0} -kind $${KIND:-one,large,through,restart,model} -seed $${SEED:-0}

programs: build ## real programs on a mount: git, go, sqlite, rsync, editors, tar, cp, parallel writers; PROGRAMS: some of them; root and /dev/fuse
	testdata/programs/run $(BIN)/wh $(PROGRAMS)

gc-race: ## collect garbage against writers for GCTIME (10m)
	$(GO) test ./pkg/pod -run '^TestCollectRace$$' -count=1 -v -timeout 0 -gctime $${GCTIME:-10m}

storm: ## eight pods write at once to the same folders for STORM (60s): one root 2 s later, and nothing published by merging
	$(GO) test ./pkg/pod -run '^TestStorm$$' -count=1 -v -timeout 0 -storm $${STORM:-60s}

powerloss: ## cut the power, fill the disk, flip bits at every place that a pod's disk has, for many minutes
	$(GO) test ./pkg/pod -run 'TestPowerLoss|TestEditorsSaves|TestNoSpace|TestStateBitFlips' -full -v -timeout 4h

pairs: ## kill each two of six real daemons under rs:4+2 and compare every byte of PAIRS (2147483648) bytes and the Go source tree; root, ip netns and /dev/fuse
	$(GO) test ./cmd/wh -run '^TestNetnsPairs$$' -count=1 -v -timeout 4h -args -pairs $${PAIRS:-2147483648} -pairs-tree "$$($(GO) env GOROOT)/src"

care: ## pods of nine are killed, restarted and flap (CAREFLAPS, 10m) under load with CARE (536870912) bytes, zones die, the network parts, policies change; root, ip netns and /dev/fuse
	$(GO) test ./cmd/wh -run '^TestNetns(Care|Copies|Parted|Zones|Policies)$$' -count=1 -v -timeout 4h -args -care $${CARE:-536870912} -care-flaps $${CAREFLAPS:-10m}
	$(GO) test ./pkg/pod -run '^TestCacheLimit$$' -count=1 -v -timeout 2h -args -cache-limit 200000000 -cache-tree $${CACHETREE:-2147483648}

dht: ## the DHT of KADPODS (1000) pods, with its own code on a network in memory: hops of lookups, messages of a pod in an hour; KADSHARE=16 has a sixteenth announced
	$(GO) test ./p2p -run '^TestDHTThousand$$' -count=1 -v -timeout 4h -args -kad-pods $${KADPODS:-1000} -kad-rest $${KADREST:-20m} -kad-share $${KADSHARE:-1}

sim: build ## simulate SEEDS (10000) seeds of the state, or of KIND=stack or KIND=placement; goes on where the last run ended, see PROGRESS
	$(BIN)/wh-sim -kind $${KIND:-state} -seeds $${FIRST:-0}:$$(($${FIRST:-0} + $${SEEDS:-10000})) -progress "$${PROGRESS:-$(BIN)/sim-$${KIND:-state}.progress}" -keep testdata/seeds

sim-time: build ## simulate seeds of the state and of the whole stack for SIMTIME (30s); SIMFROM: from this one on, else new ones
	$(BIN)/wh-sim -kind state -time $${SIMTIME:-30s} $${SIMFROM:+-seeds $$SIMFROM:$$((SIMFROM + 1000000))}
	$(BIN)/wh-sim -kind stack -time $${SIMTIME:-30s} $${SIMFROM:+-seeds $$SIMFROM:$$((SIMFROM + 1000000))}

pjdfstest: build ## the POSIX suite pjdfstest, on a mount and on the disk beside it: PJDFSTEST=DIR of the built suite, OUT: page to write; root and /dev/fuse
	WH=$(BIN)/wh .ci/pjdfstest "$(PJDFSTEST)" "$(OUT)"

mutants: ## plant known bugs, one after the other, and demand that tests fail; MUTANTS: flags, as "-in pkg/state -from join"
	$(GO) run ./.ci/mutants $(MUTANTS)

fuzz: ## every fuzz target for T (10s); what was executed is added to docs/bench/fuzz.md
	GO="$(GO)" FUZZTIME="$${T:-$${FUZZTIME:-10s}}" .ci/fuzz $(PKGS)

lint: ## vet, format and the rules of .golangci.yml
	$(TOOL) golangci-lint run ./...

fmt: ## format all files
	$(TOOL) golangci-lint fmt ./...

vuln: ## known vulnerabilities that our code reaches: VULNDB=DIR of a database; without one it is skipped
	GO="$(GO)" VULNDB="$(VULNDB)" .ci/vuln

cross: ## build and vet for Windows and macOS
	GOOS=windows CGO_ENABLED=0 $(GO) build ./...
	GOOS=windows CGO_ENABLED=0 $(GO) vet ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) vet ./...

man: build ## man pages of all commands: bin/man
	$(BIN)/wh man $(BIN)/man

completions: build ## completions for bash, zsh and fish: bin/completions
	mkdir -p $(BIN)/completions
	$(BIN)/wh completion bash > $(BIN)/completions/wh.bash
	$(BIN)/wh completion zsh > $(BIN)/completions/_wh
	$(BIN)/wh completion fish > $(BIN)/completions/wh.fish

deb: build ## a Debian package with units, man pages and completions: VERSION (0.1); needs dpkg-deb
	.ci/deb $(BIN)/wh $(BIN) $${VERSION:-0.1}

image: ## a container image with the program alone, named wormhole; needs Docker
	mkdir -p $(BIN)/image
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $(BIN)/image/wh ./cmd/wh
	cp examples/docker/Dockerfile $(BIN)/image/
	DOCKER_BUILDKIT=$${DOCKER_BUILDKIT:-0} $(DOCKER) build -t wormhole $(BIN)/image

clean: ## remove what was built
	rm -rf $(BIN) coverage.out
