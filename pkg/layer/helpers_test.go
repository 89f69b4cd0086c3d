package layer_test

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

var allCompressions = []layer.Compression{layer.Gzip, layer.Zstd, layer.EStargz}

var releaseDate = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func entry(component, path string, content rootfs.Content) rootfs.Entry {
	return rootfs.Entry{Path: path, Type: rootfs.File, Mode: 0o644, Content: content, Component: component, Origin: "test"}
}

func file(component, path, content string) rootfs.Entry {
	return entry(component, path, rootfs.Bytes([]byte(content)))
}

func dir(component, path string, mode uint32, owner int) rootfs.Entry {
	return rootfs.Entry{Path: path, Type: rootfs.Dir, Mode: mode, UID: owner, GID: owner, Component: component, Origin: "test"}
}

func link(kind rootfs.Type, component, path, target string) rootfs.Entry {
	return rootfs.Entry{Path: path, Type: kind, Mode: 0o777, Link: target, Component: component, Origin: "test"}
}

func tree(t *testing.T, entries ...rootfs.Entry) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	for _, e := range entries {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// small is a tree that has every kind of entry.
func small(t *testing.T) *rootfs.Tree {
	t.Helper()
	program := file("etcd", "/usr/local/bin/etcd-3.6.16", "not really etcd\n")
	program.Mode = 0o555
	again := link(rootfs.Hardlink, "etcd", "/usr/local/bin/etcd", "/usr/local/bin/etcd-3.6.16")
	again.Mode = 0o555
	su := file("base", "/usr/bin/su", "")
	su.Mode = 0o4755
	tr := tree(t,
		dir("base", "/tmp", 0o1777, 0),
		dir("base", "/var/lib/etcd", 0o700, 65532),
		link(rootfs.Symlink, "base", "/bin", "usr/bin"),
		su,
		program, again,
		file("base", "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
		file("certs", "/etc/ssl/certs/Főtanúsítvány.pem", "certificate\n"),
		file("certs", "/usr/share/"+strings.Repeat("d", 60)+"/"+strings.Repeat("f", 60), "fits a prefix and a name\n"),
		file("certs", "/usr/share/"+strings.Repeat("n", 101), "fits no name\n"))
	tr.SetDate("etcd", releaseDate)
	tr.SetDate("certs", releaseDate.AddDate(0, -1, 0))
	return tr
}

func partition(t *testing.T, tr *rootfs.Tree, strategy layer.Strategy, budget int, order ...string) []layer.Group {
	t.Helper()
	groups, err := layer.Partition(tr, strategy, budget, order, nil)
	if err != nil {
		t.Fatal(err)
	}
	return groups
}

func single(t *testing.T, tr *rootfs.Tree) layer.Group {
	t.Helper()
	groups := partition(t, tr, layer.Single, 8)
	if len(groups) != 1 {
		t.Fatalf("%d groups, want one", len(groups))
	}
	return groups[0]
}

func openCache(t *testing.T) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func makeLayer(t *testing.T, store layer.Store, g layer.Group, c layer.Compression) layer.Layer {
	t.Helper()
	l, err := (&layer.Writer{Store: store}).Layer(t.Context(), g, c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// archive is the tar archive inside a layer.
func archive(t *testing.T, c *cache.Cache, l layer.Layer) []byte {
	t.Helper()
	f, err := c.Open(l.Digest)
	if err != nil {
		t.Fatal(err)
	}
	r, err := layer.Uncompressed(l.MediaType, f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// headers reads an archive, and checks that nothing follows it.
func headers(t *testing.T, r io.Reader) []*tar.Header {
	t.Helper()
	var all []*tar.Header
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

// golden compares with a file below testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it anew, and then the format's version has to change)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// programLike are bytes of which compressors save a part, as of a program,
// always the same: stretches that are new, and repetitions of earlier ones.
func programLike(size int) []byte { return programBytes()[:size] }

var programBytes = sync.OnceValue(func() []byte {
	const size = 9 << 20
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, size)
	_, _ = r.Read(b)
	for at := 1 << 16; at < size; at += 1024 {
		from := at - 512 - int(r.Uint64()%(1<<15))
		copy(b[at:at+256], b[from:])
	}
	return b
})
