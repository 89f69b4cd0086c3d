package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/image-spec/schema"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/layer"
)

func writeLayout(t *testing.T, c *cache.Cache, dir string, x v1.ImageIndex, name image.Name) {
	t.Helper()
	if err := image.WriteLayout(t.Context(), dir, x, name, c); err != nil {
		t.Fatal(err)
	}
}

// wantLayout reads a layout as another tool does, and checks that it holds
// that index under each of the tags, and nothing else.
func wantLayout(t *testing.T, dir string, x v1.ImageIndex, tags ...string) {
	t.Helper()
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	top, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Error(err)
	}
	m, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Manifests {
		got = append(got, d.Annotations[ocispec.AnnotationRefName])
		if d.Digest != digestOf(t, x) || d.MediaType != ocispec.MediaTypeImageIndex {
			t.Errorf("descriptor %+v, want %s", d, digestOf(t, x))
		}
	}
	if !slices.Equal(got, tags) {
		t.Errorf("tags %q, want %q", got, tags)
	}
	raw, err := top.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	follows(t, schema.ValidatorMediaTypeImageIndex, raw)
	file, err := os.ReadFile(filepath.Join(dir, ocispec.ImageLayoutFile))
	if err != nil {
		t.Fatal(err)
	}
	follows(t, schema.ValidatorMediaTypeLayoutHeader, file)
	if got, want := blobNames(t, dir), expectedBlobs(t, x); !maps.Equal(got, want) {
		t.Errorf("blobs %v, want %v", got, want)
	}
}

func blobNames(t *testing.T, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, e := range entries {
		all[e.Name()] = true
	}
	return all
}

func expectedBlobs(t *testing.T, x v1.ImageIndex) map[string]bool {
	t.Helper()
	all := map[string]bool{digestOf(t, x).Hex: true}
	for _, img := range imagesOf(t, x) {
		m, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		all[digestOf(t, img).Hex], all[m.Config.Digest.Hex] = true, true
		for _, l := range m.Layers {
			all[l.Digest.Hex] = true
		}
	}
	return all
}

func TestALayoutIsReadAsItIs(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := fourArchs(t, c)
	dir := filepath.Join(t.TempDir(), "dist", "hardened") // made where it is missing
	writeLayout(t, c, dir, x, name)
	wantLayout(t, dir, x, "3.6.16-0")
	if got := names(t, filepath.Dir(dir)); got != "hardened" {
		t.Errorf("left beside it: %s", got)
	}
}

func TestEveryTagHasItsDescriptor(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := fourArchs(t, c)
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, c, dir, x, image.Name{Repository: "etcd", Tags: []string{"3.6.16-0", "latest"}})
	wantLayout(t, dir, x, "3.6.16-0", "latest")
	writeLayout(t, c, dir, x, image.Name{})
	wantLayout(t, dir, x, "")
}

func TestALayoutWrittenTwiceHasOneEntry(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := fourArchs(t, c)
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, c, dir, x, name)
	before := snapshot(t, dir)
	writeLayout(t, c, dir, x, name)
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Errorf("%v, then %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
	other := makeIndex(t, c, layer.Gzip, "amd64")
	writeLayout(t, c, dir, other, name)
	wantLayout(t, dir, other, "3.6.16-0")
}

func TestAnEmptyDirectoryBecomesALayout(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := makeIndex(t, c, layer.Zstd, "amd64")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := image.WriteLayout(t.Context(), dir, x, name, c); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("mode %v, %v; want that of before", info.Mode(), err)
	}
}

func TestARelativePathIsBelowTheWorkingDirectory(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := makeIndex(t, c, layer.Gzip, "amd64")
	here := t.TempDir()
	t.Chdir(here)
	// Nothing may be staged elsewhere, from where it could not be moved.
	t.Setenv("TMPDIR", filepath.Join(here, "missing"))
	writeLayout(t, c, "out", x, name)
	wantLayout(t, filepath.Join(here, "out"), x, "3.6.16-0")
	if err := image.WriteArchive(t.Context(), "out.tar", x, name); err != nil {
		t.Fatal(err)
	}
	if got := names(t, here); got != "out out.tar" {
		t.Errorf("written: %s", got)
	}
}

func TestALinkToALayoutStaysALink(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := makeIndex(t, c, layer.Gzip, "amd64")
	parent := t.TempDir()
	if err := os.Mkdir(filepath.Join(parent, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	writeLayout(t, c, link, x, name)
	wantLayout(t, filepath.Join(parent, "real"), x, "3.6.16-0")
	if target, err := os.Readlink(link); err != nil || target != "real" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

func TestWhatIsNoLayoutIsNotReplaced(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := makeIndex(t, c, layer.Gzip, "amd64")
	write := func(dir string) error { return image.WriteLayout(t.Context(), dir, x, name, c) }
	for what, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		words   []string
	}{
		"a directory of something else": {func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "README"), "mine") }, []string{"neither empty nor an OCI layout"}},
		"a layout with something beside": {func(t *testing.T, dir string) {
			if err := write(dir); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, "README"), "mine")
		}, []string{"README", "would be lost"}},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			c.prepare(t, dir)
			before := snapshot(t, filepath.Dir(dir))
			wantError(t, write(dir), append(c.words, dir)...)
			if !maps.Equal(before, snapshot(t, filepath.Dir(dir))) {
				t.Error("something changed")
			}
		})
	}
	file := filepath.Join(t.TempDir(), "out")
	writeFile(t, file, "mine")
	wantError(t, write(file), file)
	t.Chdir(t.TempDir())
	wantError(t, write("."), "name one below it")
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedWriteLeavesTheOldLayoutAsItWas(t *testing.T) {
	c := openCache(t, t.TempDir())
	old := makeIndex(t, c, layer.Gzip, "amd64")
	parent := t.TempDir()
	dir := filepath.Join(parent, "layout")
	writeLayout(t, c, dir, old, name)
	before := snapshot(t, parent)
	err := image.WriteLayout(t.Context(), dir, fourArchs(t, c), name, failingLinker{})
	if !errors.Is(err, errLink) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := image.WriteLayout(ctx, dir, fourArchs(t, c), name, c); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if !maps.Equal(before, snapshot(t, parent)) {
		t.Errorf("something changed: %s", names(t, parent))
	}
}

var errLink = errors.New("no more room")

type failingLinker struct{}

func (failingLinker) Link(string, string) error { return errLink }

func TestAMissingBlobIsTold(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := makeIndex(t, c, layer.Gzip, "amd64")
	empty := openCache(t, t.TempDir())
	dir := filepath.Join(t.TempDir(), "layout")
	if err := image.WriteLayout(t.Context(), dir, x, name, empty); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("error %v, want cache.ErrNotFound", err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a layout: %v", err)
	}
}

func TestManyWritersLeaveOneWholeLayout(t *testing.T) {
	c := openCache(t, t.TempDir())
	var indexes []v1.ImageIndex
	for _, arch := range []string{"amd64", "arm64", "ppc64le", "s390x"} {
		indexes = append(indexes, makeIndex(t, c, layer.Gzip, arch))
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "layout")
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if err := image.WriteLayout(context.Background(), dir, indexes[i%4], name, c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	top, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	last := slices.IndexFunc(indexes, func(x v1.ImageIndex) bool { return topManifests(t, top)[0].Digest == digestOf(t, x) })
	if last < 0 {
		t.Fatalf("index.json is of none of the writers: %s", top)
	}
	wantLayout(t, dir, indexes[last], "3.6.16-0")
	if got := names(t, parent); got != "layout" {
		t.Errorf("left beside it: %s", got)
	}
}

func TestTheUmaskDoesNotShowInTheContent(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := makeIndex(t, c, layer.Gzip, "amd64")
	parent := t.TempDir()
	var contents []map[string]string
	for _, mask := range []int{0o022, 0o077} {
		dir := filepath.Join(parent, fmt.Sprintf("%o", mask))
		before := unix.Umask(mask)
		err := image.WriteLayout(t.Context(), filepath.Join(dir, "layout"), x, name, c)
		if err == nil {
			err = image.WriteArchive(t.Context(), filepath.Join(dir, "image.tar"), x, name)
		}
		unix.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		relative := map[string]string{}
		for path, content := range snapshot(t, dir) {
			relative[strings.TrimPrefix(path, dir)] = content
		}
		contents = append(contents, relative)
	}
	if !maps.Equal(contents[0], contents[1]) {
		t.Error("the outputs differ")
	}
	info, err := os.Stat(filepath.Join(parent, "22", "layout"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestWhatKilledWritersLeftIsSwept(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := makeIndex(t, c, layer.Gzip, "amd64")
	parent := t.TempDir()
	for _, left := range []string{".layout.new-1/blobs/sha256/0", ".image.tar.new-1", ".layout.new-2.old/index.json"} {
		writeFile(t, filepath.Join(parent, left), "left")
	}
	for _, others := range []string{".layout.new-used/index.json", ".image.tar.new-used", ".layout.new-young/index.json", ".other.new-1", "layout.new-1"} {
		writeFile(t, filepath.Join(parent, others), "not ours")
	}
	for _, used := range []string{".layout.new-used", ".image.tar.new-used"} {
		f, err := os.Open(filepath.Join(parent, used))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	for _, e := range entries {
		if e.Name() != ".layout.new-young" {
			if err := os.Chtimes(filepath.Join(parent, e.Name()), past, past); err != nil {
				t.Fatal(err)
			}
		}
	}
	writeLayout(t, c, filepath.Join(parent, "layout"), x, name)
	if err := image.WriteArchive(t.Context(), filepath.Join(parent, "image.tar"), x, name); err != nil {
		t.Fatal(err)
	}
	// While there was no layout, the one that a swap had moved away was kept.
	kept := ".image.tar.new-used .layout.new-2.old .layout.new-used .layout.new-young .other.new-1 image.tar layout layout.new-1"
	if got := names(t, parent); got != kept {
		t.Errorf("left are\n%s\nwant\n%s", got, kept)
	}
	writeLayout(t, c, filepath.Join(parent, "layout"), x, name)
	if got := names(t, parent); strings.Contains(got, ".old") {
		t.Errorf("left are %s", got)
	}
}

func TestTheLayoutOfADamagedCacheIsNotWritten(t *testing.T) {
	cacheDir := t.TempDir()
	x := makeIndex(t, openCache(t, cacheDir), layer.Gzip, "amd64")
	c := openCache(t, cacheDir) // as a later process
	for _, path := range slices.Sorted(maps.Keys(snapshot(t, filepath.Join(cacheDir, "blobs")))) {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // a directory
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, string(bytes.ToUpper(b)))
	}
	dir := filepath.Join(t.TempDir(), "layout")
	if err := image.WriteLayout(t.Context(), dir, x, name, c); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("error %v, want cache.ErrNotFound", err)
	}
}
