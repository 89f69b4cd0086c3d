// Package etcdimg holds what travels in the etcdimg command beside its code, so
// that an installed one needs no checkout: the profiles that come with it, and
// the sources of the migrate operator, which it compiles into images.
//
// It must not know what either is used for. It stands at the module's root since
// files can be embedded only from beneath the package that embeds them.
package etcdimg

import (
	"embed"
	"io/fs"
)

//go:embed configs migrate
var files embed.FS

// Configs are the files of configs/: hardened.yaml, base.yaml, and what they
// name.
func Configs() fs.FS { return below("configs") }

// Operator are the files of migrate/, its tests included.
func Operator() fs.FS { return below("migrate") }

func below(dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the name is a constant
	}
	return sub
}
