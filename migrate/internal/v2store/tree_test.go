package v2store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func build(t *testing.T) *Builder {
	t.Helper()
	b, err := NewBuilder(Member{ID: 0xabc, Name: "n1", PeerURLs: []string{"http://a:2380"}, ClientURLs: []string{"http://a:2379"}}, "2.3.0")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatIsPutIsRead(t *testing.T) {
	b := build(t)
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	want := []Key{
		{Path: "/registry/_secret/x", Value: "hidden", Created: 6, Modified: 6, Hidden: true},
		{Path: "/registry/a", Value: "1", Created: 4, Modified: 9},
		{Path: "/registry/b/c", Value: "ünï", Created: 5, Modified: 5, Expires: soon},
	}
	for _, k := range want {
		if err := b.Put(k); err != nil {
			t.Fatal(err)
		}
	}
	data, err := b.Marshal(7)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Content{Keys: want, Index: 9}, got); d != "" {
		t.Error(d)
	}
}

func TestKeysThatNoV2StoreHoldsAreRefused(t *testing.T) {
	b := build(t)
	if err := b.Put(Key{Path: "/registry/a"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(Key{Path: "/registry/dir/b"}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"", "/", "x", "/registry/a", "/registry/a/below", "/registry/dir", "/registry"} {
		if err := b.Put(Key{Path: p}); err == nil {
			t.Errorf("%q was taken", p)
		}
	}
}

func TestDirectoriesWithoutKeysAreListed(t *testing.T) {
	c, err := Read([]byte(`{"Root":{"Path":"/","Children":{"1":{"Path":"/1","Children":{"e":{"Path":"/1/e","Children":{}},"k":{"Path":"/1/k","Value":"v"}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Keys) != 1 || len(c.EmptyDirs) != 1 || c.EmptyDirs[0] != "/e" {
		t.Errorf("%+v", c)
	}
}
