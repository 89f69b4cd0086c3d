// Package ci runs the lines of the workflows, of the action and of docs/ci, with
// the environment that each expects, as far as one machine can. A small world
// stands in for the public one: modules, packages, a registry and whoever gives
// out identity tokens, all on the loopback interface. A key signs in the place of
// an identity, "gh" and "git push" reach a recording program and a folder.
// docs/ci/README.md names the lines that are not run.
//
// It must not know how images are built.
package ci
