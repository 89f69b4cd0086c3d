package main

import (
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
)

// registryCommand starts a registry for a script, whose address is in
// $REGISTRY from then on.
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: registry")
	}
	ts.Setenv("REGISTRY", registrytest.Start(ts.Defer).Host)
}
