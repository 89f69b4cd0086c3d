// Package etcd turns an etcd version into binaries for an architecture.
//
// It has two halves. A [Resolver] turns what a profile asks for into a
// [lock.Etcd]: a wrapper module, complete with its go.sum, that pins every
// source file, together with the toolchain; or, per architecture, an archive of
// the official release. A [Compiler] turns that pin and an architecture into
// static binaries, by one call of the go command or by unpacking, and keeps
// them in a store under a key of everything that determines their bytes.
//
// How each line of etcd compiles stands in one place, the catalogue
// (catalog.go); a new line is a row there and files in lines/. What today's
// toolchain needs changed in old modules is declared beside it (edits.go) and
// done to a verified copy (edit.go). Where official releases come from is in
// release.go, what is trusted of their archives in archive.go.
//
// The package knows nothing of images, layers or profiles. It never reads the
// host's compiler settings: only the settings that say where downloads come
// from reach the go command (goenv.go).
package etcd
