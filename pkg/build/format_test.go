package build_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

var update = flag.Bool("update", false, "write the digests of the newest image format, which must never have been released")

// small is a profile whose image has something of everything that a format
// decides: packages and what rules make of them, accounts, paths, local files,
// binaries, several architectures.
const small = `
name: small
etcd: {versions: [3.6.1, 3.5.9], binaries: [etcd, etcdctl]}
contents:
  repositories: [debian trixie main]
  keyring: [key.asc]
  packages: [example, tzdata]
  slim: true
  files: [{source: motd, path: /etc/motd}]
accounts:
  run-as: nonroot
  users: [{username: nonroot, uid: 65532}]
  groups: [{groupname: nonroot, gid: 65532}]
paths:
  - {path: /var/lib/etcd, type: directory, uid: 65532, gid: 65532, permissions: 0o700}
  - {path: /var/link, type: symlink, source: lib/etcd}
environment: {PATH: /usr/local/bin}
entrypoint: {command: /usr/local/bin/etcd}
cmd: --data-dir /var/lib/etcd
work-dir: /var/lib/etcd
volumes: [/var/lib/etcd]
ports: [2379/tcp]
stop-signal: SIGTERM
annotations: {org.example.a: b}
labels: {org.example.c: d}
os-release: {id: debian, version-id: "13"}
archs: [amd64, s390x]
layering: {compression: %s}
`

// fixedInputs makes the small profile and its lock from inputs that never
// change.
func fixedInputs(t *testing.T, compression string) (*build.Builder, *profile.Profile, *lock.Lock) {
	t.Helper()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	m := debiantest.NewMirror(now)
	m.Suite("debian", "trixie").Add(
		debiantest.Deb{Name: "example", Version: "1:2.3-4", Files: []debiantest.File{
			{Name: "/usr/"}, {Name: "/usr/bin/"}, {Name: "/usr/bin/example", Mode: 0o4755, Body: "#!/bin/sh\n"},
			{Name: "/usr/bin/alias", Type: '2', Link: "example"}, {Name: "/usr/bin/twin", Type: '1', Link: "./usr/bin/example"},
			{Name: "/usr/share/"}, {Name: "/usr/share/doc/"}, {Name: "/usr/share/doc/example/"}, {Name: "/usr/share/doc/example/copyright", Body: "License: MIT\n"},
			{Name: "/usr/share/doc/example/README", Body: "gone from a slim image\n"},
			{Name: "/etc/"}, {Name: "/etc/example.conf", UID: 1, GID: 2, Body: "a = b\n"},
		}, Scripts: map[string]string{"conffiles": "/etc/example.conf\n"}},
		debiantest.Deb{Name: "tzdata", Version: "2026a", Date: now, Files: []debiantest.File{
			{Name: "/usr/"}, {Name: "/usr/share/"}, {Name: "/usr/share/zoneinfo/"}, {Name: "/usr/share/zoneinfo/UTC", Body: "TZif2"},
		}})
	dir := t.TempDir()
	load := func(yaml string) *profile.Profile {
		for name, text := range map[string]string{"key.asc": string(m.Key.Public()), "motd": "welcome\n", "small.yaml": yaml} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		p, err := profile.Load(filepath.Join(dir, "small.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	c, err := cache.Open(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	b, err := build.New(build.Options{Cache: c, Jobs: 1, Now: now,
		Environ: []string{"ETCDIMG_DEBIAN_MIRROR=" + m.Serve(t), "ETCDIMG_DEBIAN_SNAPSHOT=none"}})
	if err != nil {
		t.Fatal(err)
	}
	b.Compiler = &compiler{cache: c}
	packages := load("contents: {repositories: [debian trixie main], keyring: [key.asc], packages: [example, tzdata]}\narchs: [amd64, s390x]\ntag: small\n")
	l, err := b.Resolve(t.Context(), packages, packages.Archs)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range []string{"3.6.1", "3.5.9"} {
		l.Etcd = append(l.Etcd, lock.Etcd{Version: v, Date: now.AddDate(0, i, 0)})
	}
	return b, load(fmt.Sprintf(small, compression)), l
}

// A lock builds to the same bytes with every etcdimg of its image format, the image's
// own SBOM among them: another syft is another format, too. Where
// this test fails, bytes changed: raise lock.FormatVersion, keep what made the
// former format or have build.Match refuse it, and add the new digests with
// -update. Never change the digests of a format that was released.
func TestEveryImageFormatGivesTheBytesThatItAlwaysGave(t *testing.T) {
	for format := 1; format <= lock.FormatVersion; format++ {
		file := filepath.Join("testdata", fmt.Sprintf("format-%d.json", format))
		want := map[string]map[string]string{}
		if b, err := os.ReadFile(file); err == nil {
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
		} else if !*update || format < lock.FormatVersion {
			t.Fatalf("format %d has no digests: %v", format, err)
		}
		got := map[string]map[string]string{}
		for _, compression := range []string{"gzip", "zstd", "estargz"} {
			b, p, l := fixedInputs(t, compression)
			l.FormatVersion = format
			l.Profile, l.Config, l.Files = "", nil, nil
			if err := build.Supported(format); err != nil {
				if want[compression]["refused"] == "" {
					t.Errorf("format %d is refused, and its digests are still here: %v", format, err)
				}
				continue
			}
			r, err := b.Build(t.Context(), p, l, p.Archs, func(*build.Result) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			got[compression] = map[string]string{"index": r.Digest}
			for _, img := range r.Images {
				for _, layer := range img.Layers {
					got[compression][img.Arch+" "+fmt.Sprint(layer.Components)] = layer.Digest
				}
			}
			for name, digest := range got[compression] {
				if was := want[compression][name]; was != digest && !(*update && format == lock.FormatVersion) {
					t.Errorf("format %d, %s: %s is %s, and always was %s", format, compression, name, digest, was)
				}
			}
		}
		if *update && format == lock.FormatVersion {
			b, err := json.MarshalIndent(got, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, append(b, '\n'), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
