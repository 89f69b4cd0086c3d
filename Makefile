# Each target is one line that a person could type.
include hack/versions.env

GO ?= go
export PATH := $(CURDIR)/.cache/tools:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help build all-build push all-push etcdimg release locks test test-all lint unit tools migrate integration e2e bench fuzz clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

# What to build, for what, and where it goes; all may be given on the command
# line. What is empty is as the profile says.
PROFILE ?= configs/busybox-multi.yaml
ARCH ?= amd64
ETCD_VERSION ?=
REVISION ?=
REGISTRY ?=
FLAGS ?=

ETCDIMG ?= $(GO) run ./cmd/etcdimg
CHOICE = $(strip $(ETCD_VERSION:%=--etcd-version %) $(REVISION:%=--revision %) $(FLAGS))
OUT ?= dist/$(basename $(notdir $(PROFILE)))
IMAGE = $(or $(REGISTRY),$(error say where to push: make $@ REGISTRY=registry.example/team))/etcd

build: ## build the image of PROFILE for ARCH, of ETCD_VERSION and REVISION, into dist
	$(ETCDIMG) build $(CHOICE) --arch $(ARCH) -o $(OUT)-$(ARCH) $(PROFILE)

all-build: ## the same for all of the profile's architectures
	$(ETCDIMG) build $(CHOICE) -o $(OUT) $(PROFILE)

push: ## build the image for ARCH and push it to REGISTRY/etcd-ARCH
	$(ETCDIMG) publish $(CHOICE) --arch $(ARCH) $(PROFILE) $(IMAGE)-$(ARCH)

all-push: ## build the image for all architectures and push it to REGISTRY/etcd
	$(ETCDIMG) publish $(CHOICE) $(PROFILE) $(IMAGE)

etcdimg: ## compile bin/etcdimg
	$(GO) build -o bin/etcdimg ./cmd/etcdimg

locks: ## lock configs/ again after a change of a profile or of migrate; what is pinned stays
	$(ETCDIMG) lock configs/*.yaml

# What to release, and the key that signs it; nobody does without one.
VERSION ?=
KEY ?=

release: ## make a release of etcdimg in dist/release: VERSION=v0.1.0 [KEY=cosign.key]
	$(GO) run ./hack/release --version $(or $(VERSION),$(error say which version: make $@ VERSION=v0.1.0)) $(KEY:%=--key %)

test: lint unit tools migrate integration e2e ## run every test, and install whatever the tests need

test-all: export ETCDIMG_ALL = 1
test-all: test ## the same with every etcd line on every architecture, which takes long

lint: ## gofmt, go vet, staticcheck, actionlint, go mod tidy
	@files=$$(gofmt -l cmd pkg test hack migrate internal) && if [ -n "$$files" ]; then echo "not formatted (run gofmt -w):" $$files; exit 1; fi
	for arch in arm64 ppc64le s390x; do CGO_ENABLED=0 GOARCH=$$arch $(GO) vet ./migrate/... || exit 1; done
	$(GO) vet -tags e2e ./...
	$(GO) run $(STATICCHECK) -tags e2e ./...
	$(GO) run $(ACTIONLINT)
	$(GO) mod tidy -diff

# Tests are vetted by lint already, and linked faster without tables for debuggers.
export BRISK = -vet=off -ldflags=-w

unit: ## tests that need neither network nor tools
	hack/unit-tests

tools: ## install what the end-to-end tests need
	hack/test-tools

# Every etcd line is compiled once; "integration" and "e2e" take them from there
# too.
LINES_STORE = ETCDIMG_TEST_STORE=$(CURDIR)/.cache/store

migrate: ## migrate's tests with real etcd servers of every line
	$(LINES_STORE) $(GO) run ./test/lines .cache/etcd
	ETCDIMG_TEST_BINARIES=$(CURDIR)/.cache/etcd $(GO) test $(BRISK) -count 1 -timeout 480m ./migrate

integration: ## packages against the real module proxy and Debian archive
	$(LINES_STORE) $(GO) test $(BRISK) -tags e2e -timeout 180m $$(grep -rl '^//go:build e2e' --include='*_test.go' pkg | xargs -n 1 dirname | sort -u | sed 's,^,./,')

e2e: ## build the images for real, unpack, run and break them
	$(LINES_STORE) $(GO) test $(BRISK) -tags e2e -count 1 -timeout 60m -v ./test/e2e/...

bench: ## print the figures of this machine against their targets
	$(LINES_STORE) $(GO) run ./test/lines .cache/etcd
	$(GO) run ./test/bench

fuzz: ## let every fuzz test look for new inputs, 10 s each
	hack/fuzz

clean: ## remove what make made here
	rm -rf bin dist .cache
