package build_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// compiler makes small programs whose bytes say what they are, and keeps them
// in the cache as a real one does.
type compiler struct {
	cache *cache.Cache

	mu      sync.Mutex
	made    []string
	atOnce  int
	most    int
	fetched int
	fail    string // version and architecture whose compilation fails
}

func (c *compiler) Prefetch(context.Context, lock.Etcd, []string, []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetched++
	return nil
}

func (c *compiler) key(l lock.Etcd, arch, name string) string {
	return cache.Key(l.Version, arch, name)
}

func (c *compiler) Cached(l lock.Etcd, arch string, binaries []string) bool {
	for _, name := range binaries {
		var b stored
		if c.cache.ReadRecord("binaries", c.key(l, arch, name), &b) != nil || !c.cache.Has(b.Hash) {
			return false
		}
	}
	return true
}

func (c *compiler) Compile(ctx context.Context, l lock.Etcd, arch string, binaries []string) (map[string]rootfs.Content, error) {
	out := map[string]rootfs.Content{}
	compiles := !c.Cached(l, arch, binaries)
	if compiles {
		c.mu.Lock()
		c.atOnce++
		c.most = max(c.most, c.atOnce)
		c.made = append(c.made, l.Version+" "+arch)
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			c.atOnce--
			c.mu.Unlock()
		}()
		if c.fail == l.Version+" "+arch {
			return nil, errors.New("does not compile")
		}
	}
	for _, name := range binaries {
		b := stored{cache: c.cache}
		if compiles {
			digest, size, err := c.cache.Put(ctx, strings.NewReader(strings.Repeat(name+" "+l.Version+" "+arch+"\n", 1000)))
			if err != nil {
				return nil, err
			}
			b.Hash, b.Bytes = digest, size
			if err := c.cache.WriteRecord("binaries", c.key(l, arch, name), b); err != nil {
				return nil, err
			}
		} else if err := c.cache.ReadRecord("binaries", c.key(l, arch, name), &b); err != nil {
			return nil, err
		}
		out[name] = b
	}
	return out, nil
}

type stored struct {
	Hash  string
	Bytes int64
	cache *cache.Cache
}

func (s stored) Digest() string               { return s.Hash }
func (s stored) Size() int64                  { return s.Bytes }
func (s stored) Open() (io.ReadCloser, error) { return s.cache.Open(s.Hash) }

// packages puts one file into the base.
type packages struct{}

func (packages) Install(_ context.Context, t *rootfs.Tree, _ *profile.Profile, _ *lock.Lock, _ lock.Debian) error {
	t.SetDate("certificates", time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC))
	return t.Add(rootfs.Entry{Path: "/etc/ssl/certs/ca.crt", Type: rootfs.File, Mode: 0o644,
		Content: rootfs.Bytes([]byte("certificates")), Component: "certificates", Origin: "ca-certificates"})
}

const text = `
name: etcd
etcd: {versions: [3.6.1], binaries: [etcd]}
accounts:
  run-as: nonroot
  users: [{username: nonroot, uid: 65532}]
  groups: [{groupname: nonroot, gid: 65532}]
paths: [{path: /var/lib/etcd, type: directory, uid: 65532, gid: 65532, permissions: 0o700}]
cmd: /usr/local/bin/etcd
work-dir: /var/lib/etcd
volumes: [/var/lib/etcd]
ports: [2379/tcp]
archs: [amd64, arm64]
`

func read(t *testing.T, yaml string) *profile.Profile {
	t.Helper()
	p, err := profile.Read("test.yaml", func(string) ([]byte, error) { return []byte(yaml), nil })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pins(p *profile.Profile) *lock.Lock {
	l := &lock.Lock{Debian: []lock.Debian{{Arch: "amd64"}, {Arch: "arm64"}}}
	for i, v := range p.Etcd.Versions {
		l.Etcd = append(l.Etcd, lock.Etcd{Version: v, Date: time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)})
	}
	return l
}

type lab struct {
	*build.Builder
	compiler *compiler
	mu       sync.Mutex
	events   []build.Event
	dir      string
}

func newLab(t *testing.T, dir string) *lab {
	t.Helper()
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l := &lab{compiler: &compiler{cache: c}, dir: dir}
	l.Builder = &build.Builder{
		Cache: c, Compiler: l.compiler, Packages: packages{}, Log: slog.New(slog.DiscardHandler), Jobs: 1,
		Events: func(e build.Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, e)
		},
	}
	return l
}

func (l *lab) build(t *testing.T, p *profile.Profile, out string) *build.Result {
	t.Helper()
	r, err := l.Build(t.Context(), p, pins(p), p.Archs, func(r *build.Result) error {
		if out == "" {
			return nil
		}
		return image.WriteLayout(t.Context(), out, r.Index, image.Name{Repository: "etcd", Tags: []string{"v"}}, l.Cache)
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (l *lab) progressed(word string) int {
	n := 0
	for _, e := range l.events {
		if strings.Contains(e.Detail, word) {
			n++
		}
	}
	return n
}

func TestAnImageIsWhatItsProfileSays(t *testing.T) {
	l := newLab(t, t.TempDir())
	r := l.build(t, read(t, text), "")
	if err := validate.Index(r.Index); err != nil {
		t.Error(err)
	}
	m, err := r.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 2 || m.Manifests[0].Platform.String() != "linux/amd64" || m.Manifests[1].Platform.String() != "linux/arm64" {
		t.Fatalf("the index has %v", m.Manifests)
	}
	img, err := r.Index.Image(m.Manifests[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(config.Architecture, config.Config.User, config.Config.Cmd, config.Config.Entrypoint, config.Config.WorkingDir, config.Config.Volumes, config.Config.ExposedPorts)
	want := fmt.Sprint("arm64", "65532", []string{"/usr/local/bin/etcd"}, []string(nil), "/var/lib/etcd", map[string]struct{}{"/var/lib/etcd": {}}, map[string]struct{}{"2379/tcp": {}})
	if got != want {
		t.Errorf("configuration is %s, want %s", got, want)
	}
	if created := config.Created.Time; !created.Equal(time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)) {
		t.Errorf("created %s, want the date of the newest input", created)
	}
	if m.Annotations["org.opencontainers.image.version"] != "3.6.1" {
		t.Errorf("annotations are %v", m.Annotations)
	}
}

func TestLayersFollowComponentsAndAreSharedAsFarAsTheyAreTheSame(t *testing.T) {
	l := newLab(t, t.TempDir())
	one := l.build(t, read(t, text), "")
	other := l.build(t, read(t, strings.Replace(text, "3.6.1", "3.6.2", 1)), "")
	for _, r := range []*build.Result{one, other} {
		var names []string
		for _, made := range r.Images[0].Layers {
			names = append(names, strings.Join(made.Components, "+"))
		}
		if want := []string{"base", "certificates", "etcd-" + map[*build.Result]string{one: "3.6.1", other: "3.6.2"}[r]}; !slices.Equal(names, want) {
			t.Errorf("layers are %q, want %q", names, want)
		}
	}
	same := func(a, b layer.Layer) bool { return a.Digest == b.Digest }
	a, b := one.Images[0].Layers, other.Images[0].Layers
	if !same(a[0], b[0]) || !same(a[1], b[1]) || same(a[2], b[2]) {
		t.Error("another etcd patch must change the etcd layer and nothing else")
	}
	if !same(a[0], one.Images[1].Layers[0]) || !same(a[1], one.Images[1].Layers[1]) {
		t.Error("layers that do not depend on the architecture are not shared between architectures")
	}
}

func TestASecondBuildCompilesAndCompressesNothing(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, dir)
	first := l.build(t, read(t, text), filepath.Join(t.TempDir(), "out"))
	if len(l.compiler.made) != 2 || l.compiler.fetched != 1 || l.progressed("compressing") != 4 {
		t.Errorf("a cold build compiled %q after %d downloads and compressed %d layers", l.compiler.made, l.compiler.fetched, l.progressed("compressing"))
	}
	again := newLab(t, dir)
	p := read(t, text)
	p.Annotations = map[string]string{"org.example.note": "another"}
	second := again.build(t, p, filepath.Join(t.TempDir(), "out"))
	if len(again.compiler.made) != 0 || again.compiler.fetched != 0 || again.progressed("compressing") != 0 {
		t.Errorf("with another annotation it compiled %q and compressed %d layers", again.compiler.made, again.progressed("compressing"))
	}
	if second.Digest == first.Digest {
		t.Error("the annotation is not in the index")
	}
}

func TestWhatTheCacheLosesIsMadeAgain(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	want := newLab(t, dir).build(t, read(t, text), out).Digest
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil || len(blobs) < 4 {
		t.Fatal(blobs, err)
	}
	damage := func(t *testing.T, path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		// The layout's blob is the same file: a new one leaves it as it is.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, all := range []bool{false, true} {
		for i, path := range blobs {
			if !all {
				damage(t, path)
			} else if i == 0 {
				for _, p := range blobs {
					damage(t, p)
				}
			}
			r := newLab(t, dir).build(t, read(t, text), out)
			if r.Digest != want {
				t.Errorf("after damage to %s the digest is %s, want %s", filepath.Base(path), r.Digest, want)
			}
			wantWhole(t, out)
		}
	}
}

func wantWhole(t *testing.T, out string) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(out, "blobs", "sha256", "*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(blobs, err)
	}
	for _, path := range blobs {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := v1.SHA256(f)
		f.Close()
		if err != nil || h.Hex != filepath.Base(path) {
			t.Errorf("the layout's blob %s has the digest %s (%v)", filepath.Base(path), h.Hex, err)
		}
	}
}

func TestSeveralVersionsHaveTheirVersionInTheNameAndTheFirstThePlainOneToo(t *testing.T) {
	p := read(t, strings.Replace(text, "versions: [3.6.1], binaries: [etcd]", "versions: [3.6.1, 3.5.9], binaries: [etcd, etcdctl]", 1))
	r := newLab(t, t.TempDir()).build(t, p, "")
	files := contents(t, r.Index, r.Images[0].Digest)
	for path, want := range map[string]string{
		"usr/local/bin/etcd":          "-> usr/local/bin/etcd-3.6.1",
		"usr/local/bin/etcdctl":       "-> usr/local/bin/etcdctl-3.6.1",
		"usr/local/bin/etcd-3.6.1":    "etcd 3.6.1 amd64",
		"usr/local/bin/etcdctl-3.5.9": "etcdctl 3.5.9 amd64",
	} {
		if files[path] != want {
			t.Errorf("%s is %q, want %q", path, files[path], want)
		}
	}
	if len(r.Images[0].Layers) != 4 {
		t.Errorf("%d layers, want base, certificates and one for each version", len(r.Images[0].Layers))
	}
}

func TestAFailureNamesWhatFailedAndWritesNothing(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.compiler.fail = "3.6.1 arm64"
	p := read(t, text)
	_, err := l.Build(t.Context(), p, pins(p), p.Archs, func(*build.Result) error {
		t.Error("written although a compilation failed")
		return nil
	})
	if err == nil || err.Error() != "building etcd for arm64: does not compile" {
		t.Errorf("error is %v", err)
	}
	failed := slices.ContainsFunc(l.events, func(e build.Event) bool { return e.Task == "etcd 3.6.1 arm64" && e.Err != nil })
	if !failed {
		t.Error("no event tells that the task failed")
	}
}

func TestNoMoreCompilersRunAtOnceThanAllowed(t *testing.T) {
	l := newLab(t, t.TempDir())
	p := read(t, strings.Replace(text, "[3.6.1]", "[3.6.1, 3.6.2, 3.6.3, 3.5.1]", 1))
	l.build(t, p, "")
	if l.compiler.most != 1 || len(l.compiler.made) != 8 {
		t.Errorf("%d compilations, %d of them at once", len(l.compiler.made), l.compiler.most)
	}
}

func TestAnEpochIsTheDateOfEverything(t *testing.T) {
	l := newLab(t, t.TempDir())
	epoch := time.Unix(86400, 0).UTC()
	l.Epoch = &epoch
	r := l.build(t, read(t, text), "")
	img, err := r.Index.Image(mustHash(t, r.Images[0].Digest))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !config.Created.Equal(epoch) {
		t.Errorf("created %s, want %s", config.Created, epoch)
	}
}

func TestASuiteThatWasLeftOutIsNamedInTheManifest(t *testing.T) {
	l := newLab(t, t.TempDir())
	p := read(t, text)
	pinned := pins(p)
	pinned.Suites = []lock.Suite{{Suite: "trixie", Arch: "arm64"}, {Suite: "trixie-security", Arch: "arm64", Skipped: "left out on request"}}
	r, err := l.Build(t.Context(), p, pinned, p.Archs, func(*build.Result) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "trixie-security"} {
		img, err := r.Index.Image(mustHash(t, r.Images[i].Digest))
		if err != nil {
			t.Fatal(err)
		}
		m, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Annotations["io.github.etcdimg.skipped-suites"]; got != want {
			t.Errorf("%s: skipped suites are %q, want %q", r.Images[i].Arch, got, want)
		}
	}
}

// A local file may be another one for each architecture. The lock pins all.
func TestLocalFilesByArchitecture(t *testing.T) {
	local := map[string]string{"bin/tool-amd64": "for amd64", "bin/tool-arm64": "for arm64"}
	p, err := profile.Read("test.yaml", func(name string) ([]byte, error) {
		if name == "test.yaml" {
			return []byte(text + "contents: {files: [{source: 'bin/tool-{{.Arch}}', path: /tool, permissions: 0o755}]}\n"), nil
		}
		if b, ok := local[name]; ok {
			return []byte(b), nil
		}
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	})
	if err != nil {
		t.Fatal(err)
	}
	r := newLab(t, t.TempDir()).build(t, p, "")
	for _, i := range r.Images {
		if b, err := i.Tree.ReadFile("/tool"); err != nil || string(b) != "for "+i.Arch {
			t.Errorf("%s has %q, %v", i.Arch, b, err)
		}
	}
	l := pins(p)
	l.FormatVersion, l.Profile = lock.FormatVersion, p.Digest()
	if err := build.Match(p, l, p.Archs); err == nil || !strings.Contains(err.Error(), "bin/tool-amd64") || !strings.Contains(err.Error(), "bin/tool-arm64") {
		t.Errorf("a lock without the files: %v", err)
	}
	for path, b := range local {
		l.Files = append(l.Files, lock.LocalFile{Path: path, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(b)))})
	}
	slices.SortFunc(l.Files, func(a, b lock.LocalFile) int { return strings.Compare(a.Path, b.Path) })
	if err := build.Match(p, l, p.Archs); err != nil {
		t.Errorf("a lock of these files: %v", err)
	}
	delete(local, "bin/tool-arm64")
	if err := build.Match(p, l, []profile.Arch{"amd64"}); err != nil {
		t.Errorf("amd64 alone, without the file of arm64: %v", err)
	}
	one, err := newLab(t, t.TempDir()).Build(t.Context(), p, l, []profile.Arch{"amd64"}, func(*build.Result) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(one.Images) != 1 || one.Images[0].Digest != r.Images[0].Digest {
		t.Errorf("amd64 alone is %v, with arm64 %v", one.Images, r.Images)
	}
	if err := build.Match(p, l, p.Archs); err == nil || !strings.Contains(err.Error(), "bin/tool-arm64") {
		t.Errorf("both, without the file of arm64: %v", err)
	}
	local["bin/tool-amd64"] = "another"
	if err := build.Match(p, l, []profile.Arch{"amd64"}); err == nil || !strings.Contains(err.Error(), "bin/tool-amd64") || strings.Contains(err.Error(), "bin/tool-arm64") {
		t.Errorf("another file for amd64: %v", err)
	}
}
