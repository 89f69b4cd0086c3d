package provenance_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/provenance"
)

var update = flag.Bool("update", false, "write the golden files")

const text = `
name: etcd
etcd: {versions: [3.6.1, 3.0.17], toolchain: go1.27.4}
migrate: true
contents:
  repositories: [debian trixie main, https://mirror.example/extra stable main]
  keyring: [archive.key]
  packages: [ca-certificates]
  files: [{source: ./motd, path: /etc/motd}]
archs: [amd64, arm64]
environment: {NOTE: "a <b> & c"}
`

var local = map[string]string{"motd": "hello\n", "archive.key": "a key\x00", "big-amd64": strings.Repeat("x", 1<<20+1), "big-arm64": strings.Repeat("y", 1<<20+2)}

func read(t testing.TB, text string) *profile.Profile {
	t.Helper()
	p, err := profile.Read("test.yaml", func(name string) ([]byte, error) {
		if name == "test.yaml" {
			return []byte(text), nil
		}
		if b, ok := local[name]; ok {
			return []byte(b), nil
		}
		return nil, os.ErrNotExist
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	sumA = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	sumB = "h1:Khu2En+0gcYPZ2kuIihfswbzxv/mIHXgzPZ018Oty48="
)

func digest(c string) string { return strings.Repeat(c, 64) }

func pins(p *profile.Profile) *lock.Lock {
	date := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	deb := func(arch, sum string) lock.Debian {
		return lock.Debian{Arch: arch, Packages: []lock.Package{
			{Name: "ca-certificates", Version: "20250419", Arch: "all", Source: "ca-certificates", Archive: "debian", Suite: "trixie", Snapshot: "20260305T050607Z", Path: "pool/main/c/ca-certificates/ca-certificates_20250419_all.deb", Size: 1, SHA256: digest("c")},
			{Name: "libextra", Version: "1:2.0+really1~b", Arch: arch, Source: "extra (1.0)", Archive: "https://mirror.example/extra", Suite: "stable", Path: "pool/e/libextra_" + arch + ".deb", Size: 2, SHA256: digest(sum)},
		}}
	}
	return &lock.Lock{
		SchemaVersion: lock.SchemaVersion, FormatVersion: lock.FormatVersion, Profile: p.Digest(),
		Files: []lock.LocalFile{
			{Path: "./motd", SHA256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"},
			{Path: "archive.key", SHA256: "66b3e4ef3112d5425188650bf2cae4fc27cc39791ba5f94ab3674663099a25b7"},
		},
		Migrate: &lock.Migrate{
			Sources: "sha256:" + digest("e"), Toolchain: "go1.27.4", GoMod: "module m\n",
			GoSum: "go.etcd.io/bbolt v1.4.3 " + sumA + "\ngo.etcd.io/bbolt v1.4.3/go.mod " + sumB + "\n",
		},
		Etcd: []lock.Etcd{
			{
				Version: "3.6.1", ModuleVersion: "v3.6.1", Line: "3.6", Date: date, Toolchain: "go1.27.4",
				Packages: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
				GoMod:    "module w\n\nreplace a => b v1\n", GoSum: "go.etcd.io/etcd/server/v3 v3.6.1 " + sumA + "\ngo.etcd.io/etcd/server/v3 v3.6.1/go.mod " + sumB + "\ngolang.org/x/sys v0.1.0/go.mod " + sumB + "\n",
			},
			{
				Version: "3.0.17", ModuleVersion: "v3.0.17+incompatible", Line: "3.0", Date: date, Toolchain: "go1.27.4",
				Packages: map[string]string{"etcd": "github.com/coreos/etcd"},
				GoMod:    "module w\n", GoSum: "github.com/coreos/etcd v3.0.17+incompatible " + sumB + "\ngo.etcd.io/etcd/server/v3 v3.6.1 " + sumA + "\n",
				Edits: []lock.Edit{{Module: "github.com/ugorji/go", Version: "v0.0.0-20170107133203-ded73eae5db7", Reason: "one character twice", Files: []lock.FileEdit{
					{Path: "codec/gen.go", Before: digest("1"), After: digest("2"), Changes: []lock.Change{{Old: "9__", Occurrence: 1, New: "9_-"}}},
				}}},
				Release: &lock.Release{
					Checksums: lock.File{Path: "v3.0.17/SHA256SUMS", Size: 3, SHA256: digest("3")}, Signature: "none",
					Archives: map[string]lock.Archive{"amd64": {File: lock.File{Path: "v3.0.17/etcd-v3.0.17-linux-amd64.tar.gz", Size: 4, SHA256: digest("4")}, Binaries: map[string]string{"etcd": "etcd-v3.0.17-linux-amd64/etcd"}}},
				},
			},
		},
		Suites: []lock.Suite{
			{Archive: "debian", Suite: "trixie", Components: []string{"main"}, Arch: "amd64", Date: date, SHA256: digest("5"), SignedBy: []string{"AB"}},
			{Archive: "debian", Suite: "trixie", Components: []string{"main"}, Arch: "arm64", Date: date, SHA256: digest("5"), SignedBy: []string{"AB"}},
			{Archive: "debian", Suite: "trixie-security", Components: []string{"main"}, Arch: "arm64", Skipped: "left out on request"},
			{Archive: "https://mirror.example/extra", Suite: "stable", Components: []string{"main"}, Arch: "all", Date: date, SHA256: digest("6"), SignedBy: []string{"CD"}},
		},
		Debian: []lock.Debian{deb("amd64", "a"), deb("arm64", "b")},
	}
}

func hash(c string) v1.Descriptor {
	return v1.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: v1.Hash{Algorithm: "sha256", Hex: digest(c)}, Size: 1}
}

func result(t testing.TB) *build.Result {
	p := read(t, text)
	epoch := time.Unix(86400, 0)
	return &build.Result{
		Profile: p.Name, Resolved: p, Lock: pins(p), Epoch: &epoch, Descriptor: hash("7"),
		Images: []build.Image{{Arch: "amd64", Descriptor: hash("8")}, {Arch: "arm64", Descriptor: hash("9")}},
	}
}

var tool = provenance.Tool{Version: "v0.1.0", Sum: sumB, Commit: strings.Repeat("d", 40)}

// describe makes all statements of a result: its images', then its index's.
func describe(t *testing.T, r *build.Result) []image.Statement {
	t.Helper()
	d := &provenance.Describer{Tool: tool}
	var all []image.Statement
	for i := range r.Images {
		s, err := d.DescribeImage(t.Context(), r, &r.Images[i])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	s, err := d.DescribeIndex(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, s)
}

func TestStatementsAreAsTheyWere(t *testing.T) {
	for _, s := range describe(t, result(t)) {
		var got bytes.Buffer
		if err := json.Indent(&got, s.Content, "", "  "); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", s.Name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is\n%s\nwant\n%s\nIf this is meant, run go test with -update.", s.Name, got.Bytes(), want)
		}
	}
}

func TestTheSameInputsGiveTheSameStatement(t *testing.T) {
	first := describe(t, result(t))
	for range 10 {
		for i, s := range describe(t, result(t)) {
			if !bytes.Equal(s.Content, first[i].Content) {
				t.Fatalf("%s differs from one time to the next", s.Name)
			}
		}
	}
	// Beside fewer architectures an image's statement is the same.
	r := result(t)
	r.Images = r.Images[1:]
	r.Lock.Debian = r.Lock.Debian[1:]
	r.Lock.Suites = r.Lock.Suites[1:]
	r.Lock.Etcd[1].Release = nil
	if got := describe(t, r)[0]; !bytes.Equal(got.Content, first[1].Content) {
		t.Errorf("alone, the statement about arm64 is\n%s\nand beside amd64\n%s", got.Content, first[1].Content)
	}
}

// The specification's own types and checks are the judge.
func TestStatementsFollowTheSpecification(t *testing.T) {
	for _, made := range describe(t, result(t)) {
		var s intoto.Statement
		if err := protojson.Unmarshal(made.Content, &s); err != nil {
			t.Fatalf("%s: %v", made.Name, err)
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", made.Name, err)
		}
		if s.Type != intoto.StatementTypeUri || s.PredicateType != "https://slsa.dev/provenance/v1" || made.PredicateType != s.PredicateType {
			t.Errorf("%s: types %s, %s", made.Name, s.Type, s.PredicateType)
		}
		raw, err := made.Predicate()
		if err != nil {
			t.Fatal(err)
		}
		var p slsa.Provenance
		if err := protojson.Unmarshal(raw, &p); err != nil {
			t.Fatalf("%s: %v", made.Name, err)
		}
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", made.Name, err)
		}
		for _, d := range p.BuildDefinition.ResolvedDependencies {
			if d.Uri == "" && len(d.Digest) == 0 {
				t.Errorf("%s: %s has neither URI nor digest", made.Name, d.Name)
			}
			if len(d.Digest) == 0 && !strings.HasPrefix(d.Name, "go1.") {
				t.Errorf("%s: %s has no digest", made.Name, d.Name)
			}
		}
	}
}

func parse(t *testing.T, s image.Statement) *provenance.Statement {
	t.Helper()
	read, err := provenance.Read(s.Content)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestAStatementIsEnoughToBuildFrom(t *testing.T) {
	r := result(t)
	made := describe(t, r)
	for i, want := range [][]profile.Arch{{"amd64"}, {"arm64"}, {"amd64", "arm64"}} {
		s := parse(t, made[i])
		in, err := s.Inputs(nil)
		if err != nil {
			t.Fatalf("%s: %v", made[i].Name, err)
		}
		if !slices.Equal(in.Archs, want) || !in.Epoch.Equal(*r.Epoch) || in.Profile.Digest() != r.Resolved.Digest() {
			t.Errorf("%s: %v, %v, profile %s", made[i].Name, in.Archs, in.Epoch, in.Profile.Digest())
		}
		for source, want := range map[string]string{"./motd": local["motd"], "archive.key": local["archive.key"]} {
			if b, err := in.Profile.ReadLocal(source); err != nil || string(b) != want {
				t.Errorf("%s: %s is %q, %v", made[i].Name, source, b, err)
			}
		}
		// What is made of it again has the same statement.
		again := &build.Result{Profile: in.Profile.Name, Resolved: in.Profile, Lock: in.Lock, Epoch: in.Epoch, Descriptor: r.Descriptor}
		for _, img := range r.Images {
			if slices.Contains(in.Archs, profile.Arch(img.Arch)) {
				again.Images = append(again.Images, img)
			}
		}
		if got := describe(t, again); i < 2 && !bytes.Equal(got[0].Content, made[i].Content) || i == 2 && !bytes.Equal(got[2].Content, made[2].Content) {
			t.Errorf("%s: made again it differs:\n%s\n%s", made[i].Name, got[0].Content, made[i].Content)
		}
	}
	if s := parse(t, made[0]); !s.About(r.Images[0].Descriptor.Digest) || s.About(r.Images[1].Descriptor.Digest) {
		t.Error("a statement is not about its own image, or about another one")
	}
}

func TestWhatIsNoProvenanceByEtcdimg(t *testing.T) {
	good := string(describe(t, result(t))[0].Content)
	for what, content := range map[string]string{
		"no JSON":            "{",
		"another statement":  strings.Replace(good, "in-toto.io/Statement/v1", "in-toto.io/Statement/v9", 1),
		"another predicate":  strings.Replace(good, `"predicateType":"https://slsa.dev/provenance/v1"`, `"predicateType":"https://slsa.dev/provenance/v0.2"`, 1),
		"another build type": strings.Replace(good, "#build-v1", "#build-v2", 1),
		"a lock of words":    strings.Replace(good, `"lock":{`, `"lock":"none","unlock":{`, 1),
	} {
		if _, err := provenance.Read([]byte(content)); !errors.Is(err, provenance.ErrForeign) {
			t.Errorf("%s: error %v, want ErrForeign", what, err)
		}
	}
	older := strings.Replace(good, "in-toto.io/Statement/v1", "in-toto.io/Statement/v0.1", 1)
	if _, err := provenance.Read([]byte(older)); err != nil {
		t.Errorf("a statement as cosign wraps it: %v", err)
	}
}

func TestTamperedAndIncompleteProvenancesAreToldApart(t *testing.T) {
	type change func(*provenance.Statement)
	internal := func(s *provenance.Statement) *provenance.Internal {
		return &s.Predicate.BuildDefinition.InternalParameters
	}
	drop := func(s *provenance.Statement, prefix string) {
		d := &s.Predicate.BuildDefinition.ResolvedDependencies
		*d = slices.DeleteFunc(*d, func(d provenance.Descriptor) bool { return strings.HasPrefix(d.Name, prefix) })
	}
	for _, c := range []struct {
		what     string
		change   change
		tampered bool
		words    string
	}{
		{"another profile", func(s *provenance.Statement) {
			e := &s.Predicate.BuildDefinition.ExternalParameters
			e.Profile = bytes.Replace(e.Profile, []byte(`"hello"`), []byte(`"hallo"`), 1)
			e.Profile = bytes.Replace(e.Profile, []byte(`a \u003cb`), []byte(`a \u003cc`), 1)
			e.Profile = bytes.Replace(e.Profile, []byte(`a <b`), []byte(`a <c`), 1)
		}, true, "its profile has the digest"},
		{"another module", func(s *provenance.Statement) {
			internal(s).Lock.Etcd[0].GoSum = strings.Replace(internal(s).Lock.Etcd[0].GoSum, sumA, sumB, 1)
		}, true, "go.etcd.io/etcd/server/v3@v3.6.1 has the digest"},
		{"no module", func(s *provenance.Statement) { internal(s).Lock.Etcd[0].GoSum = "x\n" }, true, "go.sum:1"},
		{"another package", func(s *provenance.Statement) { internal(s).Lock.Debian[0].Packages[0].SHA256 = digest("f") }, true, "ca-certificates_20250419_all has the digest"},
		{"another file", func(s *provenance.Statement) { internal(s).Files["./motd"] = []byte("bye\n") }, true, "file ./motd is not the one that its lock pins"},
		{"another file, with its digest", func(s *provenance.Statement) {
			internal(s).Files["./motd"] = []byte("bye\n")
			drop(s, "file ./motd")
			s.Predicate.BuildDefinition.ResolvedDependencies = append(s.Predicate.BuildDefinition.ResolvedDependencies, provenance.Descriptor{
				Name: "file ./motd", Digest: map[string]string{"sha256": "abc6fd595fc079d3114d4b71a4d84b1d1d0f79df1e70f8813212f2a65d8916df"}})
		}, true, "not the one that its lock pins"},
		{"another edit", func(s *provenance.Statement) { internal(s).Lock.Etcd[1].Edits[0].Files[0].Changes[0].New = "x" }, true, "edit of github.com/ugorji/go"},
		{"a dependency less", func(s *provenance.Statement) { drop(s, "ca-cert") }, true, "its lock has ca-certificates"},
		{"no architecture", func(s *provenance.Statement) { s.Predicate.BuildDefinition.ExternalParameters.Architectures = nil }, true, "no architecture"},
		{"a strange architecture", func(s *provenance.Statement) {
			s.Predicate.BuildDefinition.ExternalParameters.Architectures = []string{"pdp11"}
		}, true, "pdp11"},

		{"no lock", func(s *provenance.Statement) { internal(s).Lock = nil }, false, "none at all"},
		{"a package less", func(s *provenance.Statement) {
			internal(s).Lock.Debian[0].Packages = internal(s).Lock.Debian[0].Packages[:1]
		}, false, "libextra_1:2.0+really1~b_amd64, which its resolved dependencies have"},
		{"no packages", func(s *provenance.Statement) {
			internal(s).Lock.Debian = nil
			drop(s, "ca-cert")
			drop(s, "libextra")
		}, false, "the packages for amd64"},
		{"a version less", func(s *provenance.Statement) {
			internal(s).Lock.Etcd = internal(s).Lock.Etcd[:1]
			for _, p := range []string{"github.com/coreos", "edit", "v3.0.17"} {
				drop(s, p)
			}
		}, false, "etcd 3.0.17"},
		{"no go.sum", func(s *provenance.Statement) {
			internal(s).Lock.Etcd[0].GoSum = ""
			internal(s).Lock.Etcd[1].GoSum = ""
			internal(s).Lock.Migrate.GoSum = ""
			drop(s, "g")
			s.Predicate.BuildDefinition.ResolvedDependencies = append(s.Predicate.BuildDefinition.ResolvedDependencies, provenance.Descriptor{Name: "go1.27.4"})
		}, false, "what compiles etcd 3.6.1 for amd64"},
		{"no operator", func(s *provenance.Statement) {
			internal(s).Lock.Migrate = nil
			drop(s, "go.etcd.io/bbolt")
			drop(s, "sources of migrate")
		}, false, "what compiles migrate"},
		{"a file less", func(s *provenance.Statement) {
			delete(internal(s).Files, "./motd")
			drop(s, "file ./motd")
		}, false, "the local file ./motd"},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := parse(t, describe(t, result(t))[2])
			c.change(s)
			_, err := s.Inputs(nil)
			var tampered *provenance.TamperedError
			var missing *provenance.MissingError
			if errors.As(err, &tampered) != c.tampered || errors.As(err, &missing) == c.tampered || !strings.Contains(fmt.Sprint(err), c.words) {
				t.Errorf("error %v, want one about %q", err, c.words)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"buildType":"` + provenance.BuildType + `","externalParameters":{"profile":{"etcd":{"versions":["3.6.1"]}},"architectures":["amd64"]},"internalParameters":{"lock":{"etcd":[{"goSum":"a b h1:"}]}}}}}`))
	for _, name := range []string{"index", "amd64"} {
		b, err := os.ReadFile(filepath.Join("testdata", "provenance-"+name+".slsa.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := provenance.Read(content)
		if err != nil {
			return
		}
		in, err := s.Inputs(nil)
		if err == nil && (in.Profile == nil || in.Lock == nil || len(in.Archs) == 0) {
			t.Errorf("inputs %+v", in)
		}
	})
}

// Of a file that is large the digest is told; of files by architecture, those of
// the architectures.
func TestLargeFilesAreNamedByDigest(t *testing.T) {
	large := map[string][]byte{
		"tool-amd64": bytes.Repeat([]byte("a"), 1<<20+1), "tool-arm64": bytes.Repeat([]byte("b"), 1<<20+1),
		"motd": []byte(local["motd"]), "archive.key": []byte(local["archive.key"]),
	}
	p, err := profile.Read("test.yaml", func(name string) ([]byte, error) {
		if name == "test.yaml" {
			return []byte(strings.Replace(text, "files: [", "files: [{source: 'tool-{{.Arch}}', path: /tool}, ", 1)), nil
		}
		if b, ok := large[name]; ok {
			return b, nil
		}
		return nil, os.ErrNotExist
	})
	if err != nil {
		t.Fatal(err)
	}
	r := result(t)
	config, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	r.Resolved, r.Lock.Config, r.Lock.Profile = p, config, p.Digest()
	for _, name := range []string{"tool-amd64", "tool-arm64"} {
		r.Lock.Files = append(r.Lock.Files, lock.LocalFile{Path: name, SHA256: fmt.Sprintf("%x", sha256.Sum256(large[name]))})
	}
	made := describe(t, r)
	if size := len(made[2].Content); size > 1<<20 {
		t.Errorf("the statement has %d bytes", size)
	}
	s := parse(t, made[0])
	var files []string
	for _, d := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if name, ok := strings.CutPrefix(d.Name, "file "); ok {
			files = append(files, name)
		}
	}
	if want := []string{"./motd", "archive.key", "tool-amd64"}; !slices.Equal(files, want) {
		t.Errorf("amd64's statement names the files %v, want %v", files, want)
	}
	var missing *provenance.MissingError
	if _, err := s.Inputs(nil); !errors.As(err, &missing) || !strings.Contains(err.Error(), "tool-amd64") {
		t.Errorf("nobody finds the file: %v", err)
	}
	if _, err := s.Inputs(func(lock.LocalFile) ([]byte, error) { return []byte("another"), nil }); err == nil || !strings.Contains(err.Error(), "tool-amd64 that was found is not the one") {
		t.Errorf("another file is found: %v", err)
	}
	if _, err := s.Inputs(func(lock.LocalFile) ([]byte, error) { return nil, os.ErrNotExist }); !errors.As(err, &missing) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is not there: %v", err)
	}
	in, err := s.Inputs(func(f lock.LocalFile) ([]byte, error) { return large[f.Path], nil })
	if err != nil {
		t.Fatal(err)
	}
	if b, err := in.Profile.ReadLocal("tool-amd64"); err != nil || !bytes.Equal(b, large["tool-amd64"]) {
		t.Errorf("the file is read as %d bytes, %v", len(b), err)
	}
}
