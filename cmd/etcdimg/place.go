package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/registry"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// layoutArgument tells an OCI layout on disk, DIR, DIR:TAG or DIR@DIGEST, from
// the name of an image in a registry.
func layoutArgument(s string) (dir, reference string, ok bool) {
	for _, cut := range []string{"", "@", ":"} {
		dir, reference = s, ""
		if cut != "" {
			i := strings.LastIndex(s, cut)
			if cut == "@" {
				i = strings.Index(s, cut)
			}
			if i < 0 {
				continue
			}
			dir, reference = s[:i], s[i+1:]
		}
		if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err == nil {
			return dir, reference, true
		}
	}
	return "", "", false
}

// errNoLayout is a directory that is none.
var errNoLayout = errors.New("the directory is no OCI layout")

// open finds an image in a registry or in a layout. A tag is looked up once:
// whatever is done afterwards is done to the digest that it named then.
func (f *registryFlags) open(cmd *cobra.Command, argument, identity string) (sign.Place, v1.Descriptor, error) {
	if dir, reference, ok := layoutArgument(argument); ok {
		if identity == "" {
			identity = filepath.Base(dir)
		}
		l, err := image.OpenLayout(dir)
		if err != nil {
			return nil, v1.Descriptor{}, err
		}
		p, err := sign.Layout(dir, identity)
		if err != nil {
			return nil, v1.Descriptor{}, err
		}
		d, err := l.Resolve(reference)
		return p, d, err
	}
	if info, err := os.Stat(argument); err == nil && info.IsDir() {
		return nil, v1.Descriptor{}, &fs.PathError{Op: "open", Path: argument, Err: errNoLayout}
	}
	client, ref, err := f.reference(cmd, argument)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	d, err := client.Get(cmd.Context(), ref)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	return sign.Repository(client, ref.Context()), d.Descriptor, nil
}

func (f *registryFlags) reference(cmd *cobra.Command, argument string) (*registry.Client, name.Reference, error) {
	client, err := f.client(cmd)
	if err != nil {
		return nil, nil, err
	}
	ref, err := client.ParseReference(argument)
	if err != nil {
		return nil, nil, usagef(cmd, "%s is neither an OCI layout nor the name of an image: %w", argument, err)
	}
	return client, ref, nil
}
