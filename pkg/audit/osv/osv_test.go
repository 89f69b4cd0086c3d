package osv_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/etcdimg/etcdimg/pkg/audit/osv"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/fetch"
)

func store(t *testing.T) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.TempDir())
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

const (
	goRecord     = `{"id":"GO-1","modified":"2026-01-02T03:04:05Z","affected":[{"package":{"ecosystem":"Go","name":"example.com/x"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.0"}]}]}]}`
	newerRecord  = `{"id":"GO-1","modified":"2026-02-02T03:04:05Z","summary":"newer","affected":[{"package":{"ecosystem":"Go","name":"example.com/x"}}]}`
	gone         = `{"id":"GO-2","modified":"2026-03-02T03:04:05Z","withdrawn":"2026-03-02T03:04:05Z","affected":[{"package":{"ecosystem":"Go","name":"example.com/x"}}]}`
	debianRecord = `{"id":"DEBIAN-CVE-1","modified":"0001-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Debian:13","name":"tzdata"},"versions":["1"]},{"package":{"ecosystem":"Debian:12","name":"tzdata"}}]}`
	index        = `{"modified":"2025-05-05T00:00:00Z"}`
)

// files of a database, in their order.
type files []struct{ name, content string }

func (f files) folder(t *testing.T, dir string) string {
	t.Helper()
	for _, x := range f {
		p := filepath.Join(dir, x.name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(x.content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (f files) tar(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, x := range f {
		if err := w.WriteHeader(&tar.Header{Name: x.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(x.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(x.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (f files) zip(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, x := range f {
		w, err := z.Create(x.name)
		if err == nil {
			_, err = w.Write([]byte(x.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

var all = files{{"a/GO-1.json", goRecord}, {"b/GO-1.json", newerRecord}, {"GO-2.json", gone}, {"DEBIAN-CVE-1.json", debianRecord}, {"README.md", "not a record"}}

func TestFoldersAndArchivesSayTheSame(t *testing.T) {
	dir := t.TempDir()
	sources := map[string]string{"folder": all.folder(t, filepath.Join(dir, "folder"))}
	for name, b := range map[string][]byte{
		"x.zip": all.zip(t), "x.tar": all.tar(t), "x.tar.gz": gzipped(t, all.tar(t)), "x.tar.zst": zstandard(t, all.tar(t)),
	} {
		sources[name] = filepath.Join(dir, name)
		if err := os.WriteFile(sources[name], b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := store(t)
	for name, source := range sources {
		for _, again := range []string{"first", "kept"} {
			t.Run(name+" "+again, func(t *testing.T) {
				d, err := osv.Open(t.Context(), c, source)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				if got := d.Info.Date.Format(time.RFC3339) + " " + d.Info.DateFrom; got != "2026-03-02T03:04:05Z modified" {
					t.Errorf("the date is %s", got)
				}
				if d.Info.Records != 2 || d.Info.GoRecords != 1 {
					t.Errorf("%d records, %d of Go", d.Info.Records, d.Info.GoRecords)
				}
				if diff := cmp.Diff(map[string]int{"Go": 1, "Debian:12": 1, "Debian:13": 1}, d.Info.Ecosystems); diff != "" {
					t.Error(diff)
				}
				found, err := d.For("Go", "example.com/x")
				if err != nil || len(found) != 1 || found[0].Summary != "newer" {
					t.Errorf("%v, %v", found, err)
				}
				if found, err := d.For("Go", "tzdata"); err != nil || len(found) != 0 {
					t.Errorf("another ecosystem's package: %v, %v", found, err)
				}
			})
		}
	}
}

func TestADatabaseTellsItsDate(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		files      files
		want       string
	}{
		{"Go's index", "db", files{{"ID/GO-1.json", goRecord}, {"index/db.json", index}, {"index/modules.json", "[]"}}, "2025-05-05 index/db.json"},
		{"the newest record", "db", files{{"GO-1.json", goRecord}}, "2026-01-02 modified"},
		{"the name", "vulndb-2026-08-21", files{{"D.json", debianRecord}}, "2026-08-21 file name"},
		{"nothing", "db", files{{"D.json", debianRecord}}, "0001-01-01 file name"},
		{"a number that is no date", "db-20261399", files{{"D.json", debianRecord}}, "0001-01-01 file name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := osv.Open(t.Context(), store(t), tt.files.folder(t, filepath.Join(t.TempDir(), tt.file)))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if got := d.Info.Date.Format(time.DateOnly) + " " + d.Info.DateFrom; got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestWhatIsNoDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	whole := gzipped(t, all.tar(t))
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":     {nil, "neither a folder, nor a zip, nor a tar"},
		"text":      {[]byte(strings.Repeat("hello ", 200)), "neither a folder, nor a zip, nor a tar"},
		"html":      {[]byte("<!DOCTYPE html><html></html>"), "neither a folder, nor a zip, nor a tar"},
		"cut":       {whole[:len(whole)/2], "unexpected EOF"},
		"cutzip":    {all.zip(t)[:200], "broken zip"},
		"norecords": {files{{"README.md", "x"}}.zip(t), "it has no record"},
		"foreign":   {files{{"x.json", `{"name":"x"}`}}.tar(t), "x.json: no OSV record: it has no id"},
		"list":      {files{{"x.json", `[]`}}.tar(t), "x.json: no OSV record"},
		"nothing":   {files{{"x.json", `{"id":"X"}`}}.tar(t), "X names nothing that it affects"},
		"event":     {files{{"x.json", `{"id":"X","affected":[{"ranges":[{"events":[{}]}]}]}`}}.tar(t), "an event without a version"},
		"path":      {files{{"x.json", `{"id":"../X","affected":[{}]}`}}.tar(t), `the id "../X"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(dir, name)
			if err := os.WriteFile(p, tt.content, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := osv.Open(t.Context(), store(t), p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestAnAddressIsAskedOnceAnHour(t *testing.T) {
	asked := 0
	undated := files{{"D.json", debianRecord}}.zip(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Last-Modified", "Wed, 01 Apr 2026 00:00:00 GMT")
		if _, err := w.Write(undated); err != nil {
			t.Error(err)
		}
	}))
	c := store(t)
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	get := func(after time.Duration, offline bool) {
		t.Helper()
		d, err := osv.Fetch(t.Context(), c, s.URL+"/all.zip", start.Add(after), offline, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got := d.Info.Date.Format(time.DateOnly) + " " + d.Info.DateFrom + " " + d.Info.Kind; got != "2026-04-01 Last-Modified address" {
			t.Error(got)
		}
	}
	if _, err := osv.Fetch(t.Context(), c, s.URL+"/all.zip", start, true, nil); !errors.Is(err, fetch.ErrOffline) {
		t.Errorf("offline, and never fetched: %v", err)
	}
	for _, step := range []struct {
		after   time.Duration
		offline bool
		asked   int
	}{{0, false, 1}, {59 * time.Minute, false, 1}, {61 * time.Minute, false, 2}, {1000 * time.Hour, true, 2}} {
		get(step.after, step.offline)
		if asked != step.asked {
			t.Errorf("after %s: asked %d times, want %d", step.after, asked, step.asked)
		}
	}
	s.Close()
	if _, err := osv.Fetch(t.Context(), c, s.URL+"/all.zip", start.Add(2000*time.Hour), false, nil); err == nil {
		t.Error("nobody is there, and what is old was taken without a word")
	}
}

func TestVersionsAreHeldAgainstRanges(t *testing.T) {
	for _, tt := range []struct {
		ranges, version string
		affected        bool
		fixed           string
	}{
		{`[{"introduced":"0"},{"fixed":"2.41-1"}]`, "2.40-1", true, "2.41-1"},
		{`[{"introduced":"0"},{"fixed":"2.41-1"}]`, "2.41-1", false, ""},
		{`[{"introduced":"0"},{"fixed":"2.41-1+deb13u1"}]`, "2.41-1", true, "2.41-1+deb13u1"},
		{`[{"introduced":"0"},{"fixed":"2.41-1"}]`, "2.41-1~bpo1", true, "2.41-1"},
		{`[{"introduced":"0"},{"fixed":"1:1.0"}]`, "9.9", true, "1:1.0"},
		{`[{"introduced":"0"}]`, "1", true, ""},
		{`[{"introduced":"2"}]`, "1", false, ""},
		{`[{"introduced":"0"},{"last_affected":"2"}]`, "2", true, ""},
		{`[{"introduced":"0"},{"last_affected":"2"}]`, "2.1", false, ""},
		{`[{"fixed":"4"},{"introduced":"3"},{"fixed":"2"},{"introduced":"1"}]`, "3.5", true, "4"},
		{`[{"fixed":"4"},{"introduced":"3"},{"fixed":"2"},{"introduced":"1"}]`, "2.5", false, ""},
	} {
		r, err := osv.Parse(fmt.Appendf(nil, `{"id":"X","affected":[{"package":{"ecosystem":"Debian:13","name":"x"},"ranges":[{"type":"ECOSYSTEM","events":%s}]}]}`, tt.ranges))
		if err != nil {
			t.Fatal(err)
		}
		affected, fixed := r.Affected[0].Has(tt.version, debian.CompareVersions)
		if affected != tt.affected || fixed != tt.fixed {
			t.Errorf("%s in %s: %v, fixed in %q; want %v, %q", tt.version, tt.ranges, affected, fixed, tt.affected, tt.fixed)
		}
	}
}

// TestTheSnapshot reads the whole Go vulnerability database.
func TestTheSnapshot(t *testing.T) {
	const snapshot = "../../../../shared/data/go-vulndb-2026-08-21.tar.xz"
	if _, err := os.Stat(snapshot); errors.Is(err, os.ErrNotExist) {
		if os.Getenv("ETCDIMG_E2E_STRICT") != "" {
			t.Fatalf("%s is not there, and ETCDIMG_E2E_STRICT is set", snapshot)
		}
		t.Skipf("NOT RUN: %s is not there: the snapshot of the Go vulnerability database lies beside the project", snapshot)
	}
	d, err := osv.Open(t.Context(), store(t), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Info.Date.Format(time.DateOnly) != "2026-08-21" || d.Info.GoRecords != d.Info.Records || d.Info.Records < 4000 {
		t.Errorf("%+v", d.Info)
	}
	found, err := d.For("Go", "golang.org/x/net")
	if err != nil || len(found) < 10 {
		t.Errorf("%d records of golang.org/x/net: %v", len(found), err)
	}
}

// Databases are written by strangers: nothing that they write may stop the
// program.
func FuzzParse(f *testing.F) {
	for _, s := range []string{goRecord, newerRecord, gone, debianRecord, index, `{"id":"X","affected":[{"ranges":[{"events":[{"introduced":"0"},{"limit":"9"}]}]}]}`} {
		f.Add([]byte(s), "1.0")
	}
	f.Fuzz(func(t *testing.T, b []byte, version string) {
		r, err := osv.Parse(b)
		if err != nil {
			return
		}
		if len(r.Names()) == 0 || r.Names()[0] != r.ID {
			t.Errorf("%s has the names %v", r.ID, r.Names())
		}
		for i := range r.Affected {
			if affected, fixed := r.Affected[i].Has(version, debian.CompareVersions); !affected && fixed != "" {
				t.Errorf("%q is not affected, and fixed in %q", version, fixed)
			}
		}
	})
}
