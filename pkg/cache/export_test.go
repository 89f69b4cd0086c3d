package cache_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

// filled is a cache with two blobs and a record.
func filled(t *testing.T) (*cache.Cache, cache.Selection) {
	t.Helper()
	c := openCache(t, t.TempDir())
	s := cache.Selection{Blobs: []string{put(t, c, "hello"), put(t, c, "world")}, Records: []cache.RecordName{{Kind: "thing", Key: key}}}
	if err := c.WriteRecord("thing", key, "done"); err != nil {
		t.Fatal(err)
	}
	return c, s
}

func export(t *testing.T, c *cache.Cache, s cache.Selection) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := c.Export(t.Context(), &b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnExportIsTheSameBytesInAnyOrder(t *testing.T) {
	c, s := filled(t)
	one := export(t, c, s)
	s.Blobs = []string{s.Blobs[1], s.Blobs[0], s.Blobs[1]}
	if !bytes.Equal(export(t, c, s), one) {
		t.Error("another order, or something twice, gives another export")
	}
	other := openCache(t, t.TempDir())
	done, err := other.Import(t.Context(), bytes.NewReader(one))
	if err != nil || done.Blobs != 2 || done.Records != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	all, err := other.All()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(export(t, other, all), one) {
		t.Error("what was imported gives another export")
	}
	var got string
	if err := other.ReadRecord("thing", key, &got); err != nil || got != "done" {
		t.Errorf("the record is %q, %v", got, err)
	}
}

func TestAnExportOfWhatIsMissingOrDamagedFails(t *testing.T) {
	c, s := filled(t)
	blob := filepath.Join(c.Dir(), "blobs", "sha256", strings.TrimPrefix(s.Blobs[0], "sha256:"))
	if err := errors.Join(os.Chmod(blob, 0o644), os.WriteFile(blob, []byte("other"), 0o644)); err != nil {
		t.Fatal(err)
	}
	again := openCache(t, c.Dir()) // which has not verified it yet
	if _, err := again.Export(t.Context(), io.Discard, s); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("error: %v", err)
	}
	s = cache.Selection{Records: []cache.RecordName{{Kind: "thing", Key: otherKey}}}
	if _, err := c.Export(t.Context(), io.Discard, s); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("error: %v", err)
	}
}

// tarOf makes an export by hand: names and contents by turns.
func tarOf(t *testing.T, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		h := &tar.Header{Name: entries[i], Mode: 0o444, Size: int64(len(entries[i+1])), Typeflag: tar.TypeReg}
		if strings.HasPrefix(entries[i+1], "->") {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, entries[i+1][2:], 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, entries[i+1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNothingButAWholeExportIsImported(t *testing.T) {
	c, s := filled(t)
	whole := export(t, c, s)
	hello := "blobs/sha256/" + strings.TrimPrefix(s.Blobs[0], "sha256:")
	for name, x := range map[string]struct {
		data []byte
		says string
	}{
		"nothing":           {nil, "cut off"},
		"cut within a blob": {whole[:1600], "cut off"},
		"cut between":       {whole[:len(whole)-1536], "cut off"},
		"another tar":       {tarOf(t, "hello", "x"), "no export"},
		"a newer form":      {tarOf(t, "etcdimg-cache", "2\n"), "newer etcdimg"},
		"a damaged blob":    {tarOf(t, "etcdimg-cache", "1\n", hello, "hellO"), "is damaged"},
		"a damaged record":  {tarOf(t, "etcdimg-cache", "1\n", "records/thing/"+key, "sha256:0\n{}"), "is damaged"},
		"a path elsewhere":  {tarOf(t, "etcdimg-cache", "1\n", "records/../"+key, "x"), "record kind"},
		"a key that climbs": {tarOf(t, "etcdimg-cache", "1\n", "blobs/sha256/../../x", "x"), "no export has"},
		"a link":            {tarOf(t, "etcdimg-cache", "1\n", hello, "->/etc/passwd"), "no export has"},
		"more at the end":   {tarOf(t, "etcdimg-cache", "1\n", "end", "", hello, "hello"), "no export has"},
	} {
		t.Run(name, func(t *testing.T) {
			to := openCache(t, t.TempDir())
			_, err := to.Import(t.Context(), bytes.NewReader(x.data))
			if err == nil || !strings.Contains(err.Error(), x.says) {
				t.Errorf("error: %v", err)
			}
			if _, damaged, err := to.Verify(t.Context()); err != nil || len(damaged) > 0 {
				t.Errorf("it left damage: %v %v", damaged, err)
			}
		})
	}
}

func TestPruningTakesTheLeastRecentlyUsed(t *testing.T) {
	c, s := filled(t)
	old := filepath.Join(c.Dir(), "blobs", "sha256", strings.TrimPrefix(s.Blobs[0], "sha256:"))
	long := time.Now().Add(-100 * 24 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	gone, err := c.Prune(cache.Prune{Before: time.Now().Add(-time.Hour), Size: -1, DryRun: true})
	if err != nil || gone.Blobs != 1 || gone.Records != 0 || !c.Has(s.Blobs[0]) {
		t.Errorf("a dry run: %+v %v", gone, err)
	}
	// Use makes it young again.
	again := openCache(t, c.Dir())
	f, err := again.Open(s.Blobs[0])
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if gone, err := c.Prune(cache.Prune{Before: time.Now().Add(-time.Hour), Size: -1}); err != nil || gone.Blobs != 0 {
		t.Errorf("after its use: %+v %v", gone, err)
	}
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if gone, err := c.Prune(cache.Prune{Size: 85}); err != nil || gone.Blobs != 1 || c.Has(s.Blobs[0]) || !c.Has(s.Blobs[1]) {
		t.Errorf("by size: %+v %v", gone, err)
	}
	if gone, err := c.Prune(cache.Prune{Size: -1, Keep: &cache.Selection{Records: s.Records}}); err != nil || gone.Blobs != 1 || gone.Records != 0 {
		t.Errorf("by need: %+v %v", gone, err)
	}
}

func TestInfoCountsBlobsForTheRecordsThatNameThem(t *testing.T) {
	c, s := filled(t)
	if err := c.WriteRecord("thing", otherKey, map[string]string{"digest": s.Blobs[0]}); err != nil {
		t.Fatal(err)
	}
	uses, err := c.Info()
	if err != nil || len(uses) != 2 || uses[0].Kind != "thing" || uses[0].Records != 2 || uses[0].Blobs != 1 || uses[1].Kind != "" || uses[1].Blobs != 1 || uses[1].Bytes != 5 {
		t.Errorf("%+v, %v", uses, err)
	}
}
