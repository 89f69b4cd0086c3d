//go:build e2e

// Package e2e tests etcdimg from outside: it runs the command as a person
// would, reads what it wrote with other people's tools, starts the images in a
// container engine, and breaks caches, disks and networks beneath it.
//
// It must not know how anything is done: it imports no package of etcdimg but
// helpers for tests.
//
// The tests need the network, and what hack/test-tools installs. A test that
// lacks a tool says so and is listed at the end; with ETCDIMG_E2E_STRICT set,
// it fails instead.
package e2e
