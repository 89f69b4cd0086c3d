package provenance_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/provenance"
)

// statements are those of the images of a result, as whoever joins reads them.
func statements(t *testing.T, said []image.Statement) []*provenance.Statement {
	t.Helper()
	var all []*provenance.Statement
	for _, s := range said {
		all = append(all, parse(t, s))
	}
	return all
}

// What images have of a lock, put together, describes their index as the lock
// itself does. The fixture has one release for one architecture, a suite that
// one of them does without, and local files by architecture, too large to be carried.
func TestWhole(t *testing.T) {
	for _, change := range []struct {
		name string
		do   func(r *build.Result)
	}{
		{"as it is", func(*build.Result) {}},
		{"without SOURCE_DATE_EPOCH", func(r *build.Result) { r.Epoch = nil }},
		{"a release for both", func(r *build.Result) {
			release := *r.Lock.Etcd[1].Release
			a := release.Archives["amd64"]
			r.Lock.Etcd[1].Release.Archives["arm64"] = a
			r.Lock.Etcd[1].GoMod, r.Lock.Etcd[1].GoSum, r.Lock.Etcd[1].Toolchain = "", "", ""
			r.Lock.Etcd[1].ModuleVersion, r.Lock.Etcd[1].Packages, r.Lock.Etcd[1].Edits = "", nil, nil
		}},
		{"local files by architecture, too large to be carried", func(r *build.Result) {
			p := read(t, strings.Replace(text, "files: [", "files: [{source: \"big-{{.Arch}}\", path: /big}, ", 1))
			r.Resolved, r.Lock = p, pins(p)
			for _, name := range []string{"big-amd64", "big-arm64"} {
				r.Lock.Files = append(r.Lock.Files, lock.LocalFile{Path: name, SHA256: lock.Sum([]byte(local[name]))})
			}
		}},
		{"without packages of one's own", func(r *build.Result) {
			r.Lock.Suites = r.Lock.Suites[3:]
		}},
	} {
		t.Run(change.name, func(t *testing.T) {
			r := result(t)
			change.do(r)
			said := describe(t, r)
			in, err := provenance.Whole(statements(t, said[:2]))
			if err != nil {
				t.Fatal(err)
			}
			joined := &build.Result{Profile: in.Profile.Name, Resolved: in.Profile, Lock: in.Lock, Epoch: in.Epoch, Descriptor: r.Descriptor, Images: r.Images}
			if got, want := describe(t, joined), said; !bytes.Equal(got[2].Content, want[2].Content) {
				t.Errorf("the index is described as\n%s\nwant\n%s", got[2].Content, want[2].Content)
			}
			if differ, err := provenance.LockDifferences(r.Lock, in); err != nil || len(differ) > 0 {
				t.Errorf("differs from its lock: %v, %v", differ, err)
			}
		})
	}
}

func TestDifferencesNameWhatWasNotShared(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *build.Result)
		want   string
	}{
		{"etcd", func(r *build.Result) { r.Lock.Etcd[0].Toolchain = "go1.27.3" }, `etcd 3.6.1, compiled: toolchain "go1.27.4" and "go1.27.3"`},
		{"date", func(r *build.Result) { r.Lock.Etcd[0].Date = time.Unix(0, 0).UTC() }, "etcd 3.6.1: date"},
		{"migrate", func(r *build.Result) { r.Lock.Migrate.Sources = "sha256:" + digest("f") }, "migrate: sources"},
		{"suite", func(r *build.Result) { r.Lock.Suites[1].SHA256 = digest("0") }, "the suite debian trixie: sha256"},
		{"epoch", func(r *build.Result) { r.Epoch = nil }, "SOURCE_DATE_EPOCH"},
		{"format", func(r *build.Result) { r.Lock.FormatVersion++ }, "the version of a lock: formatVersion 1 and 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, other := result(t), result(t)
			tt.change(other)
			a, b := describe(t, ours), describe(t, other)
			all := provenance.Differences(parse(t, a[0]), parse(t, b[1]))
			if !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, tt.want) }) {
				t.Errorf("differences %q, want %q", all, tt.want)
			}
			if _, err := provenance.Whole([]*provenance.Statement{parse(t, a[0]), parse(t, b[1])}); err == nil || !strings.Contains(err.Error(), "not built from one lock") {
				t.Errorf("put together all the same: %v", err)
			}
		})
	}
	if all := provenance.Differences(statements(t, describe(t, result(t)))[0], statements(t, describe(t, result(t)))[1]); len(all) > 0 {
		t.Errorf("two images of one build differ in %q", all)
	}
}

func TestBuiltBy(t *testing.T) {
	s := parse(t, describe(t, result(t))[0])
	if by, ok := s.BuiltBy(tool); !ok || !strings.HasPrefix(by, "v0.1.0") {
		t.Errorf("built by %q, %v", by, ok)
	}
	for _, other := range []provenance.Tool{{Version: "v0.1.1", Sum: sumB, Commit: tool.Commit}, {Version: "v0.1.0", Sum: sumB}, {}, {Version: "v0.1.0", Sum: sumB, Commit: tool.Commit, Modified: true}} {
		if by, ok := s.BuiltBy(other); ok {
			t.Errorf("%+v built what %s did", other, by)
		}
	}
}
