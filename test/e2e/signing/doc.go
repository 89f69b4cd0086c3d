// Package signing shows that what etcdimg publishes can be verified by the
// tools that people have: it runs a real registry, the cosign commands with
// the very lines that the documentation tells, and the tools that copy images.
//
// The images are small ones, from a Debian archive and a Go module proxy of
// the test's own: what is shown here does not depend on what is in them. The
// package must not know how signatures are made.
package signing
