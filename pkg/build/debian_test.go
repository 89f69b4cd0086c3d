package build_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// debianImage builds an image of the small Debian of debiantest and returns its
// files by path.
func debianImage(t *testing.T, epoch *time.Time) map[string]string {
	t.Helper()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	m := debiantest.NewMirror(now)
	m.AddBase()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("key.asc", m.Key.Public())
	p, err := profile.Load(write("base.yaml", []byte(`
contents:
  repositories: [debian trixie main]
  keyring: [key.asc]
  packages: ["@required", apt]
  slim: true
accounts:
  run-as: etcd
  users: [{username: etcd, uid: 4000}]
  groups: [{groupname: etcd, gid: 4000, members: [nobody]}]
archs: [amd64]
tag: base
`)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := build.New(build.Options{
		Cache: c, Jobs: 1, Now: now, Epoch: epoch,
		Environ: []string{"ETCDIMG_DEBIAN_MIRROR=" + m.Serve(t), "ETCDIMG_DEBIAN_SNAPSHOT=none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.Resolve(context.Background(), p, p.Archs)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	_, err = b.Build(context.Background(), p, l, p.Archs, func(r *build.Result) error {
		return readFiles(r.Index, files)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readFiles(index v1.ImageIndex, files map[string]string) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			return err
		}
		defer r.Close()
		entries := tar.NewReader(r)
		for {
			h, err := entries.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			content, err := io.ReadAll(entries)
			if err != nil {
				return err
			}
			files[filepath.Join("/", h.Name)] = string(content)
		}
	}
	return nil
}

func TestAccountsOfProfileAndPackagesHaveTheDateOfTheBase(t *testing.T) {
	epoch := time.Unix(86400*12345+7, 0)
	for _, c := range []struct {
		title string
		epoch *time.Time
		day   string
	}{
		{"the newest package of the base", nil, "20455"}, // 2026-01-02, debiantest.DefaultDate
		{"SOURCE_DATE_EPOCH", &epoch, "12345"},
	} {
		files := debianImage(t, c.epoch)
		for path, want := range map[string]string{
			"/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\netcd:x:4000:4000:etcd:/home/etcd:/sbin/nologin\n",
			"/etc/shadow": "root:*:DAY:0:99999:7:::\nnobody:*:DAY:0:99999:7:::\netcd:*:DAY:0:99999:7:::\n",
			"/etc/group":  "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\netcd:x:4000:nobody\n",
		} {
			if want = strings.ReplaceAll(want, "DAY", c.day); files[path] != want {
				t.Errorf("%s: %s is\n%s", c.title, path, files[path])
			}
		}
	}
}

func TestAptInTheImageKnowsTheSnapshotOfTheLock(t *testing.T) {
	files := debianImage(t, nil)
	got := files["/etc/apt/sources.list.d/debian.sources"]
	for _, want := range []string{
		"URIs: http://snapshot.debian.org/archive/debian/20260305T040607Z/\nSuites: trixie\nComponents: main\n", "Check-Valid-Until: no\n",
		"Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp /etc/apt/keyrings/profile-1.asc\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the sources lack %q:\n%s", want, got)
		}
	}
	if !strings.HasPrefix(files["/etc/apt/keyrings/profile-1.asc"], "-----BEGIN PGP PUBLIC KEY") {
		t.Error("the profile's key is not there")
	}
}
