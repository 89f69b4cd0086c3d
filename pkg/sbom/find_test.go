package sbom

import (
	"slices"
	"testing"

	"github.com/anchore/syft/syft/pkg"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

func TestFindNamesTheModulesOfEachProgram(t *testing.T) {
	w := newWorkbench(t)
	tree := rootfs.New()
	w.programs(t, tree)
	put(t, tree, rootfs.Entry{Path: "/usr/local/bin/script", Type: rootfs.File, Mode: 0o555, Content: rootfs.Bytes([]byte("#!/bin/sh\n"))})
	found, err := find(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range found {
		if m := p.Metadata.(pkg.GolangBinaryBuildinfoEntry); p.Name != "stdlib" && m.H1Digest == "" {
			t.Errorf("%s %s has no sum", p.Name, p.Version)
		}
		if p.Name != "stdlib" {
			got = append(got, p.Name+" "+p.Version+" "+place(p))
		}
	}
	want := []string{
		"go.etcd.io/etcd/api/v3 v3.6.99 /usr/local/bin/etcd",
		"go.etcd.io/etcd/api/v3 v3.6.99 /usr/local/bin/etcdctl",
		"go.etcd.io/etcd/etcdctl/v3 v3.6.99 /usr/local/bin/etcdctl",
		"go.etcd.io/etcd/server/v3 v3.6.99 /usr/local/bin/etcd",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q\nwant %q", got, want)
	}
}
