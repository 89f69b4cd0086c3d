package basis_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/basis"
	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

func write(t *testing.T) (string, basis.Manifest) {
	t.Helper()
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	if err := os.WriteFile(db, []byte(strings.Repeat("what a database holds ", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	at, err := version.ParseStamp("3.7.3/etcd3")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "all.db")
	m, err := basis.Write(context.Background(), file, db, basis.Manifest{
		From: at, Cluster: "cdf818194e3a8c32", Index: 1000, Prepared: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Content: backend.Summary{Revision: 900, Keys: 3, Live: "ab"},
		Members: []cluster.Member{{Name: "m1", PeerURLs: []string{"http://10.0.0.1:2380"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return file, m
}

func TestWhatIsWrittenIsReadAndChecked(t *testing.T) {
	file, m := write(t)
	got, err := basis.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&m, got); d != "" {
		t.Error(d)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// As etcd's own saved snapshots end.
	h := sha256.Sum256(b[:len(b)-sha256.Size])
	if string(b[len(b)-sha256.Size:]) != string(h[:]) {
		t.Error("the file does not end in its digest")
	}
	for _, name := range []string{file, file + ".json"} {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if m.Token() != "migrate-"+m.Digest[:16] {
		t.Error(m.Token())
	}
}

func TestAFileThatWasChangedIsRefused(t *testing.T) {
	for _, x := range []struct {
		what, want string
		change     func(file string) error
	}{
		{"a byte", "its digest is", func(file string) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[100] ^= 1
			return os.WriteFile(file, b, 0o600)
		}},
		{"more after it", "its digest is", func(file string) error {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("x")
			return errors.Join(err, f.Close())
		}},
		{"cut short", "EOF", func(file string) error { return os.Truncate(file, 100) }},
		{"no manifest", "copy both", func(file string) error { return os.Remove(file + ".json") }},
		{"another format", "format 9", func(file string) error {
			return os.WriteFile(file+".json", []byte(`{"format": 9}`), 0o600)
		}},
		{"no JSON", "not a database", func(file string) error { return os.WriteFile(file+".json", []byte(`{`), 0o600) }},
		{"a manifest too long", "too long", func(file string) error { return os.Truncate(file+".json", 2<<20) }},
		{"no digest", "not a database", func(file string) error {
			return os.WriteFile(file+".json", []byte(`{"format": 1, "size": 5}`), 0o600)
		}},
	} {
		file, _ := write(t)
		if err := x.change(file); err != nil {
			t.Fatal(err)
		}
		if m, err := basis.Open(file); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, %v", x.what, m, err)
		}
	}
}

func TestIDsAreThoseThatEtcdGives(t *testing.T) {
	members := []cluster.Member{
		{Name: "m1", PeerURLs: []string{"http://127.0.0.1:12380"}},
		{Name: "m2", PeerURLs: []string{"http://127.0.0.1:22380"}},
		{Name: "m3", PeerURLs: []string{"http://127.0.0.1:32380"}},
	}
	// etcd's own Procfile starts these, and its documentation shows their IDs.
	ids, id := basis.IDs(members, "etcd-cluster-1")
	want := []uint64{0x8211f1d0f64f3269, 0x91bc3c398fb3c146, 0xfd422379fda50e48}
	if d := cmp.Diff(want, ids); d != "" || id != 0xef37ad9dc622a7c4 {
		t.Errorf("%x, %s", id, d)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"format":1,"size":3,"sha256":"00"}`))
	f.Add([]byte(`{"format":1,"from":"3.5.35/etcd3"}`))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		file := filepath.Join(t.TempDir(), "all.db")
		if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+".json", manifest, 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := basis.Open(file); err == nil {
			t.Errorf("%q passes: %+v", manifest, m)
		}
	})
}
