// Package release makes a release of etcdimg twice, from outside, and has the
// commands of docs/release.md verify it. It must not know how etcdimg works.
package release
