package layer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// large is a layer that compressors work on in many pieces.
func large(t *testing.T, size int) layer.Group {
	t.Helper()
	return single(t, tree(t, entry("etcd", "/bin/etcd", rootfs.Bytes(programLike(size))), file("etcd", "/bin/etcdctl", "x")))
}

func TestTheNumberOfCoresDoesNotShow(t *testing.T) {
	g := large(t, 9<<20)
	for how, on := range map[layer.Compression][]int{
		layer.Gzip:    {1, 2, 8},
		layer.Zstd:    {1, 8},
		layer.EStargz: {1, 8},
	} {
		t.Run(string(how), func(t *testing.T) {
			var first layer.Layer
			for _, cores := range on {
				before := runtime.GOMAXPROCS(cores)
				l := makeLayer(t, openCache(t), g, how)
				runtime.GOMAXPROCS(before)
				if first.Digest == "" {
					first = l
				}
				if l.Digest != first.Digest || l.DiffID != first.DiffID || fmt.Sprint(l.Annotations) != fmt.Sprint(first.Annotations) {
					t.Errorf("on %d cores %+v, on one %+v", cores, l, first)
				}
			}
		})
	}
}

func TestThePiecesInWhichContentArrivesDoNotShow(t *testing.T) {
	b := programLike(1<<20 + 12345)
	whole := single(t, tree(t, entry("etcd", "/bin/etcd", rootfs.Bytes(b))))
	pieces := single(t, tree(t, entry("etcd", "/bin/etcd", inPieces{rootfs.Bytes(b)})))
	for _, how := range allCompressions {
		a, b := makeLayer(t, openCache(t), whole, how), makeLayer(t, openCache(t), pieces, how)
		if a.Digest != b.Digest {
			t.Errorf("%s: %s whole, %s in pieces", how, a.Digest, b.Digest)
		}
	}
}

type inPieces struct{ rootfs.Content }

func (c inPieces) Open() (io.ReadCloser, error) {
	r, err := c.Content.Open()
	return struct {
		io.Reader
		io.Closer
	}{pieces{r}, r}, err
}

type pieces struct{ io.Reader }

func (p pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), 777)]) }

func TestALayerIsWhatItsDescriptorSays(t *testing.T) {
	for _, how := range allCompressions {
		t.Run(string(how), func(t *testing.T) {
			c := openCache(t)
			g := single(t, small(t))
			l := makeLayer(t, c, g, how)
			f, err := c.Open(l.Digest)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			blob, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			if sum(blob) != l.Digest || int64(len(blob)) != l.Size {
				t.Errorf("the blob is %s, %d bytes; the layer says %s, %d", sum(blob), len(blob), l.Digest, l.Size)
			}
			b := archive(t, c, l)
			if sum(b) != l.DiffID {
				t.Errorf("the archive is %s; the layer says %s", sum(b), l.DiffID)
			}
			var names []string
			for _, h := range headers(t, bytes.NewReader(b)) {
				names = append(names, h.Name)
			}
			for _, e := range g.Entries {
				if name := strings.TrimPrefix(e.Path, "/"); !strings.Contains(strings.Join(names, "\n")+"\n", name) {
					t.Errorf("%s is not in the archive", name)
				}
			}
			want := map[layer.Compression]string{
				layer.Gzip: ocispec.MediaTypeImageLayerGzip, layer.Zstd: ocispec.MediaTypeImageLayerZstd, layer.EStargz: ocispec.MediaTypeImageLayerGzip,
			}[how]
			if l.MediaType != want {
				t.Errorf("media type %s, want %s", l.MediaType, want)
			}
		})
	}
}

func TestAnEStargzLayerIsReadFileByFile(t *testing.T) {
	c := openCache(t)
	content := programLike(4<<20 + 12345) // in two chunks
	tr := small(t)
	if err := tr.Add(entry("etcd", "/usr/local/bin/etcdctl", rootfs.Bytes(content))); err != nil {
		t.Fatal(err)
	}
	l := makeLayer(t, c, single(t, tr), layer.EStargz)
	f, err := c.Open(l.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := estargz.Open(io.NewSectionReader(f, 0, l.Size))
	if err != nil {
		t.Fatal(err)
	}
	toc, err := digest.Parse(l.Annotations[estargz.TOCJSONDigestAnnotation])
	if err != nil {
		t.Fatalf("annotations %v: %v", l.Annotations, err)
	}
	verifier, err := r.VerifyTOC(toc)
	if err != nil {
		t.Fatal(err)
	}
	sr, err := r.OpenFile("usr/local/bin/etcdctl")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(sr)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	chunks := 0
	for at := int64(0); at < int64(len(content)); chunks++ {
		chunk, ok := r.ChunkEntryForOffset("usr/local/bin/etcdctl", at)
		if !ok {
			t.Fatalf("no chunk at %d", at)
		}
		size := chunk.ChunkSize
		if size == 0 {
			size = int64(len(content)) - at
		}
		v, err := verifier.Verifier(chunk)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Write(content[at : at+size]); err != nil || !v.Verified() {
			t.Errorf("the chunk at %d is not what its digest says: %v", at, err)
		}
		at += size
	}
	if chunks != 2 {
		t.Errorf("%d chunks, want 2", chunks)
	}
	for name, kind := range map[string]string{
		estargz.NoPrefetchLandmark: "reg", "bin": "symlink", "tmp": "dir", "var/lib/etcd": "dir", "usr/bin/su": "reg",
	} {
		if e, ok := r.Lookup(name); !ok || e.Type != kind {
			t.Errorf("%s: %+v, want a %s", name, e, kind)
		}
	}
}

func TestALayerIsMadeOnce(t *testing.T) {
	c := openCache(t)
	var made [][]string
	w := &layer.Writer{Store: c, OnMake: func(components []string) { made = append(made, components) }}
	g := single(t, small(t))
	first, err := w.Layer(t.Context(), g, layer.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Layer(t.Context(), g, layer.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 1 || fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("made %v: first %+v, then %+v", made, first, second)
	}
	if _, err := w.Layer(t.Context(), g, layer.Zstd); err != nil || len(made) != 2 {
		t.Errorf("another compression: made %v, %v", made, err)
	}
}

func TestManyWhoWantTheSameLayerMakeItOnce(t *testing.T) {
	c := openCache(t)
	g := single(t, small(t))
	var made atomic.Int32
	w := &layer.Writer{Store: c, OnMake: func([]string) { made.Add(1) }}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := w.Layer(context.Background(), g, layer.Gzip); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func TestTwoTreesShareTheLayerOfTheirSharedComponent(t *testing.T) {
	c := openCache(t)
	base := file("base", "/etc/passwd", "root")
	var digests []string
	for _, version := range []string{"3.6.15", "3.6.16"} {
		for _, g := range partition(t, tree(t, base, file("etcd-"+version, "/bin/etcd", version)), layer.ByComponent, 8, "base") {
			digests = append(digests, makeLayer(t, c, g, layer.Gzip).Digest)
		}
	}
	if digests[0] != digests[2] || digests[1] == digests[3] {
		t.Errorf("layers %v", digests)
	}
}

func TestASharedLayerIsCalledByEachTreesOwnNames(t *testing.T) {
	c := openCache(t)
	makeLayer(t, c, single(t, tree(t, file("one", "/a", "x"))), layer.Gzip)
	l := makeLayer(t, c, single(t, tree(t, file("two", "/a", "x"))), layer.Gzip)
	if strings.Join(l.Components, " ") != "two" {
		t.Errorf("components %v", l.Components)
	}
}

func TestWhateverShowsInALayerMakesAnother(t *testing.T) {
	c := openCache(t)
	seen := map[string]string{}
	for name, change := range map[string]func(e *rootfs.Entry, g *layer.Group){
		"nothing":       func(e *rootfs.Entry, g *layer.Group) {},
		"path":          func(e *rootfs.Entry, g *layer.Group) { e.Path = "/b" },
		"mode":          func(e *rootfs.Entry, g *layer.Group) { e.Mode = 0o4644 },
		"owner":         func(e *rootfs.Entry, g *layer.Group) { e.UID = 1 },
		"group":         func(e *rootfs.Entry, g *layer.Group) { e.GID = 1 },
		"content":       func(e *rootfs.Entry, g *layer.Group) { e.Content = rootfs.Bytes([]byte("y")) },
		"kind":          func(e *rootfs.Entry, g *layer.Group) { e.Type, e.Content, e.Link = rootfs.Symlink, nil, "x" },
		"target":        func(e *rootfs.Entry, g *layer.Group) { e.Type, e.Content, e.Link = rootfs.Symlink, nil, "y" },
		"date":          func(e *rootfs.Entry, g *layer.Group) { g.Date = releaseDate },
		"another entry": func(e *rootfs.Entry, g *layer.Group) { g.Entries = append(g.Entries, e) },
	} {
		e := file("base", "/a", "x")
		g := layer.Group{Components: []string{"base"}, Entries: []*rootfs.Entry{&e}}
		change(&e, &g)
		l := makeLayer(t, c, g, layer.Gzip)
		if other, ok := seen[l.Digest]; ok {
			t.Errorf("%q and %q give the same layer", name, other)
		}
		seen[l.Digest] = name
	}
}

func TestALayerWhoseBlobIsGoneIsMadeAgain(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, c *cache.Cache, path, digest string){
		"missing": func(t *testing.T, c *cache.Cache, path, digest string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		// Whoever opens a damaged blob has it removed.
		"damaged": func(t *testing.T, c *cache.Cache, path, digest string) {
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("damaged"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Open(digest); !errors.Is(err, cache.ErrNotFound) {
				t.Fatalf("opening: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			open := func() *cache.Cache {
				c, err := cache.Open(dir)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return c
			}
			g := single(t, small(t))
			l := makeLayer(t, open(), g, layer.Gzip)
			c := open()
			harm(t, c, filepath.Join(dir, "blobs", "sha256", strings.TrimPrefix(l.Digest, "sha256:")), l.Digest)
			made := 0
			again, err := (&layer.Writer{Store: c, OnMake: func([]string) { made++ }}).Layer(t.Context(), g, layer.Gzip)
			if err != nil || made != 1 || again.Digest != l.Digest {
				t.Fatalf("made %d times: %+v, %v", made, again, err)
			}
			archive(t, c, again)
		})
	}
}

func TestMissingContentIsToldWhateverTheCompression(t *testing.T) {
	gone := fmt.Errorf("opening the binary: %w", cache.ErrNotFound)
	for _, how := range allCompressions {
		for name, content := range map[string]rootfs.Content{
			"at its opening":     broken{rootfs.Bytes(programLike(1 << 20)), gone, nil},
			"while it is read":   broken{rootfs.Bytes(programLike(1 << 20)), nil, gone},
			"right at its first": broken{rootfs.Bytes([]byte("x")), nil, gone},
		} {
			c := openCache(t)
			g := single(t, tree(t, entry("etcd", "/bin/etcd", content)))
			_, err := (&layer.Writer{Store: c}).Layer(t.Context(), g, how)
			if !errors.Is(err, cache.ErrNotFound) || !strings.Contains(err.Error(), "/bin/etcd") {
				t.Errorf("%s, %s: %v", how, name, err)
			}
		}
	}
}

// broken is content that fails, at once or half-way.
type broken struct {
	rootfs.Content
	open, read error
}

func (c broken) Open() (io.ReadCloser, error) {
	if c.open != nil {
		return nil, c.open
	}
	r, err := c.Content.Open()
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, c.Size()/2), failing{c.read}), r}, err
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAStoreThatFailsEndsTheLayer(t *testing.T) {
	full := errors.New("the disk is full")
	for _, how := range allCompressions {
		_, err := (&layer.Writer{Store: fullStore{openCache(t), full}}).Layer(t.Context(), large(t, 1<<20), how)
		if !errors.Is(err, full) {
			t.Errorf("%s: %v", how, err)
		}
	}
}

type fullStore struct {
	*cache.Cache
	err error
}

func (s fullStore) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	_, _ = io.CopyN(io.Discard, r, 100)
	return "", 0, s.err
}

func TestACancelledLayerStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := openCache(t)
	for _, how := range allCompressions {
		if _, err := (&layer.Writer{Store: c}).Layer(ctx, large(t, 1<<20), how); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestUnknownCompressionsAreRefused(t *testing.T) {
	_, err := (&layer.Writer{Store: openCache(t)}).Layer(t.Context(), single(t, small(t)), "lz4")
	if err == nil || !strings.Contains(err.Error(), `"lz4": want gzip, zstd or estargz`) {
		t.Errorf("error %v", err)
	}
	for _, mediaType := range []string{"", "application/vnd.docker.image.rootfs.diff.tar.gzip"} {
		if _, err := layer.Uncompressed(mediaType, io.NopCloser(strings.NewReader(""))); err == nil || !strings.Contains(err.Error(), mediaType) {
			t.Errorf("media type %q: %v", mediaType, err)
		}
	}
}
