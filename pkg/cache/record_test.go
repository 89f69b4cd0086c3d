package cache_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

type result struct {
	Digest string
	Size   int64
}

var (
	key      = cache.Key("a", "b")
	otherKey = cache.Key("ab")
	made     = result{Digest: helloDigest, Size: 5}
)

func recordFile(c *cache.Cache, kind, key string) string {
	return filepath.Join(c.Dir(), "records", kind, key)
}

func writeRecord(t *testing.T, c *cache.Cache) {
	t.Helper()
	if err := c.WriteRecord("result", key, made); err != nil {
		t.Fatal(err)
	}
}

func TestARecordComesBackByItsKey(t *testing.T) {
	c := openCache(t, t.TempDir())
	writeRecord(t, c)
	var got result
	if err := openCache(t, c.Dir()).ReadRecord("result", key, &got); err != nil || got != made {
		t.Errorf("read %v, %v", got, err)
	}
	later := result{Size: 6}
	if err := c.WriteRecord("result", key, later); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadRecord("result", key, &got); err != nil || got.Size != 6 {
		t.Errorf("read %v, %v after it was written again", got, err)
	}
}

func TestAMissingRecordIsNotFound(t *testing.T) {
	c := openCache(t, t.TempDir())
	writeRecord(t, c)
	var got result
	for _, at := range [][2]string{{"result", otherKey}, {"other", key}} {
		if err := c.ReadRecord(at[0], at[1], &got); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("%v: %v", at, err)
		}
	}
}

func TestADamagedRecordIsDropped(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, path string){
		"flipped bit": damage,
		"emptied":     func(t *testing.T, path string) { overwrite(t, path, nil) },
		"cut short": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			overwrite(t, path, b[:len(b)-1])
		},
		"without its digest": func(t *testing.T, path string) { overwrite(t, path, []byte(`{"Digest":"x"}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := openCache(t, t.TempDir())
			writeRecord(t, c)
			harm(t, recordFile(c, "result", key))
			var got result
			if err := c.ReadRecord("result", key, &got); !errors.Is(err, cache.ErrNotFound) {
				t.Fatalf("ReadRecord: %v, want ErrNotFound", err)
			}
			if _, err := os.Lstat(recordFile(c, "result", key)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the damaged record is still there: %v", err)
			}
			writeRecord(t, c)
			if err := c.ReadRecord("result", key, &got); err != nil || got != made {
				t.Errorf("read %v, %v after it was written again", got, err)
			}
		})
	}
}

func TestAMovedRecordIsNotTheRecord(t *testing.T) {
	c := openCache(t, t.TempDir())
	writeRecord(t, c)
	if err := os.Rename(recordFile(c, "result", key), recordFile(c, "result", otherKey)); err != nil {
		t.Fatal(err)
	}
	var got result
	if err := c.ReadRecord("result", otherKey, &got); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("ReadRecord: %v, want ErrNotFound", err)
	}
}

func TestARecordOfAnotherFormIsNotFound(t *testing.T) {
	c := openCache(t, t.TempDir())
	if err := c.WriteRecord("result", key, []int{1}); err != nil {
		t.Fatal(err)
	}
	var got result
	if err := c.ReadRecord("result", key, &got); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("ReadRecord: %v, want ErrNotFound", err)
	}
}

func TestKindsAndKeysAreChecked(t *testing.T) {
	c := openCache(t, t.TempDir())
	for _, at := range [][2]string{
		{"", key}, {"result", ""}, {"../x", key}, {"Result", key}, {"a/b", key}, {"result", "../" + key}, {"result", "XYZ"},
		{"result", strings.ToUpper(key)},
	} {
		if err := c.WriteRecord(at[0], at[1], made); err == nil {
			t.Errorf("WriteRecord(%q, %q) succeeded", at[0], at[1])
		}
		var got result
		if err := c.ReadRecord(at[0], at[1], &got); err == nil || errors.Is(err, cache.ErrNotFound) {
			t.Errorf("ReadRecord(%q, %q): %v", at[0], at[1], err)
		}
		if _, err := c.Lock(t.Context(), at[0], at[1]); err == nil {
			t.Errorf("Lock(%q, %q) succeeded", at[0], at[1])
		}
	}
	if files := filesBelow(t, filepath.Join(c.Dir(), "records")); len(files) != 0 {
		t.Errorf("written: %v", files)
	}
}

func TestKeysTellListsApart(t *testing.T) {
	seen := map[string][]string{}
	for _, parts := range [][]string{nil, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {"a,1:b"}, {"1:a"}} {
		k := cache.Key(parts...)
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q have the same key", parts, other)
		}
		seen[k] = parts
	}
}

func FuzzRecord(f *testing.F) {
	c, err := cache.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	if err := c.WriteRecord("result", key, made); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(recordFile(c, "result", key))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(whole), "", "\n", "{}", "sha256:\n{}", string(whole) + "\n", string(whole[:20])} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := cache.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		path := recordFile(c, "result", key)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		var got result
		err = c.ReadRecord("result", key, &got)
		switch {
		case err == nil && string(b) != string(whole):
			t.Errorf("%q was taken for a record: %v", b, got)
		case err != nil && !errors.Is(err, cache.ErrNotFound):
			t.Errorf("ReadRecord: %v, want ErrNotFound", err)
		}
	})
}

func FuzzUnseal(f *testing.F) {
	n := cache.RecordName{Kind: "thing", Key: cache.Key("x")}
	c, err := cache.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	if err := c.WriteRecord(n.Kind, n.Key, "content"); err != nil {
		f.Fatal(err)
	}
	whole, err := c.RawRecord(n)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, n.Key)
	f.Add(whole, cache.Key("y"))
	f.Add([]byte("sha256:\n"), n.Key)
	f.Fuzz(func(t *testing.T, raw []byte, key string) {
		content, ok := cache.Unseal(cache.RecordName{Kind: n.Kind, Key: key}, raw)
		if !ok {
			return
		}
		// Nothing but the same content under the same key has that seal.
		if key == n.Key && bytes.HasPrefix(raw, whole[:71]) && !bytes.Equal(content, whole[72:]) {
			t.Errorf("another content with the seal of the record: %q", content)
		}
		if _, ok := cache.Unseal(cache.RecordName{Kind: n.Kind, Key: key + "0"}, raw); ok {
			t.Errorf("%q is two keys' record", raw)
		}
	})
}
