package image_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

var created = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

var name = image.Name{Repository: "etcd", Tags: []string{"3.6.16-0"}}

func openCache(t *testing.T, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(dir)
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

func makeLayer(t *testing.T, c *cache.Cache, component, path, content string, how layer.Compression) layer.Layer {
	t.Helper()
	tree := rootfs.New()
	err := tree.Add(rootfs.Entry{Path: path, Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(content)), Component: component, Origin: "test"})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := layer.Partition(tree, layer.ByComponent, 8, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&layer.Writer{Store: c}).Layer(t.Context(), groups[0], how)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func spec(arch string) image.Spec {
	return image.Spec{
		Platform: v1.Platform{OS: "linux", Architecture: arch},
		Created:  created,
		Config: v1.Config{
			User: "65532", WorkingDir: "/var/lib/etcd", Cmd: []string{"/usr/local/bin/etcd"}, StopSignal: "SIGTERM",
			Env:          []string{"PATH=/usr/local/bin"},
			Volumes:      map[string]struct{}{"/var/lib/etcd": {}},
			ExposedPorts: map[string]struct{}{"2379/tcp": {}, "2380/tcp": {}},
			Labels:       map[string]string{"a": "b"},
			Healthcheck:  &v1.HealthConfig{Test: []string{"CMD", "/usr/local/bin/etcdctl", "endpoint", "health"}, Interval: 30 * time.Second},
		},
		Annotations: map[string]string{"org.opencontainers.image.title": "etcd"},
		CreatedBy:   "etcdimg build",
	}
}

func makeImage(t *testing.T, c *cache.Cache, arch string, how layer.Compression) v1.Image {
	t.Helper()
	img, err := image.New(spec(arch), []layer.Layer{
		makeLayer(t, c, "base", "/etc/passwd", "root:x:0:0:root:/:/sbin/nologin\n", how),
		makeLayer(t, c, "etcd", "/usr/local/bin/etcd", "etcd for "+arch, how),
	}, c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func makeIndex(t *testing.T, c *cache.Cache, how layer.Compression, archs ...string) v1.ImageIndex {
	t.Helper()
	var images []v1.Image
	for _, arch := range archs {
		images = append(images, makeImage(t, c, arch, how))
	}
	x, err := image.NewIndex(images, map[string]string{"org.opencontainers.image.title": "etcd"})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func fourArchs(t *testing.T, c *cache.Cache) v1.ImageIndex {
	t.Helper()
	return makeIndex(t, c, layer.Gzip, "amd64", "arm64", "ppc64le", "s390x")
}

func digestOf(t *testing.T, x interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	d, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// topManifests are the descriptors of a layout's index.json.
func topManifests(t *testing.T, b []byte) []v1.Descriptor {
	t.Helper()
	var m v1.IndexManifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m.Manifests
}

// snapshot is what lies below a directory: path to content, or to "dir".
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			all[path] = "dir"
			return nil
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not tell %q", err, w)
		}
	}
}

// names are what a directory holds.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}
