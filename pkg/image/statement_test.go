package image_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/image-spec/schema"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/image"
)

// said are two statements about the index, and one about its first image.
func said(t *testing.T, x v1.ImageIndex) []image.Statement {
	t.Helper()
	m, err := x.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := x.Size()
	if err != nil {
		t.Fatal(err)
	}
	about := v1.Descriptor{MediaType: "application/vnd.oci.image.index.v1+json", Digest: digestOf(t, x), Size: size}
	// Of a subject nothing but what identifies it is written down.
	first := m.Manifests[0]
	return []image.Statement{
		{Subject: first, Name: "sbom-amd64.spdx.json", ArtifactType: "application/spdx+json", PredicateType: "https://spdx.dev/Document", Content: []byte(`{"spdxVersion":"SPDX-2.3"}`)},
		{Subject: about, Name: "sbom-index.spdx.json", ArtifactType: "application/spdx+json", PredicateType: "https://spdx.dev/Document", Content: []byte(`{"spdxVersion":"SPDX-2.3","name":"index"}`)},
		{Subject: about, Name: "provenance-index.json", ArtifactType: image.ArtifactInToto, PredicateType: "https://slsa.dev/provenance/v1", Content: []byte(`{"predicate":{"a":1}}`)},
	}
}

func writeSaid(t *testing.T, c *cache.Cache, dir string, x v1.ImageIndex, statements ...image.Statement) {
	t.Helper()
	if err := image.WriteLayout(t.Context(), dir, x, name, c, statements...); err != nil {
		t.Fatal(err)
	}
}

func openLayout(t *testing.T, dir string) *image.Layout {
	t.Helper()
	l, err := image.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestStatementsAreReferrersInALayout(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := fourArchs(t, c)
	statements := said(t, x)
	dir := filepath.Join(t.TempDir(), "layout")
	writeSaid(t, c, dir, x, statements...)

	l := openLayout(t, dir)
	if got := l.Tags(); !slices.Equal(got, name.Tags) {
		t.Errorf("tags %q, want %q", got, name.Tags)
	}
	for _, reference := range []string{"", name.Tags[0], digestOf(t, x).String()} {
		if d, err := l.Resolve(reference); err != nil || d.Digest != digestOf(t, x) {
			t.Errorf("%q is %v, %v; want the index", reference, d.Digest, err)
		}
	}
	for _, img := range imagesOf(t, x) {
		if d, err := l.Resolve(digestOf(t, img).String()); err != nil || d.Digest != digestOf(t, img) || d.Platform == nil {
			t.Errorf("the image %s is %v, %v", digestOf(t, img), d, err)
		}
	}
	for digest, want := range map[v1.Hash][]image.Statement{
		statements[0].Subject.Digest: statements[:1],
		digestOf(t, x):               statements[1:],
		{Algorithm: "sha256", Hex: digestOf(t, x).Hex[1:] + "0"}: nil,
	} {
		got, err := l.Statements(digest)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d statements about %s, want %d", len(got), digest, len(want))
		}
		for i, s := range got {
			w := want[i]
			if s.Name != w.Name || s.ArtifactType != w.ArtifactType || s.PredicateType != w.PredicateType || !bytes.Equal(s.Content, w.Content) ||
				s.Subject.Digest != w.Subject.Digest || s.Subject.Size != w.Subject.Size || s.Subject.MediaType != w.Subject.MediaType || s.Subject.Platform != nil {
				t.Errorf("statement %+v, want %+v", s, w)
			}
		}
	}

	// What the library of other tools makes of it.
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
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	follows(t, schema.ValidatorMediaTypeImageIndex, raw)
	referrers, err := l.Referrers(digestOf(t, x))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range referrers {
		raw, err := l.Manifest(r.Descriptor)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.ValidatorMediaTypeManifest.Validate(bytes.NewReader(raw)); err != nil {
			t.Errorf("%v: %s", err, raw)
		}
		if r.Descriptor.ArtifactType != r.Manifest.ArtifactType || r.Manifest.Config.MediaType != "application/vnd.oci.empty.v1+json" {
			t.Errorf("manifest %s", raw)
		}
		if _, err := l.Blob(r.Manifest.Config.Digest); err != nil {
			t.Error(err)
		}
	}

	// The same again is the same, and none are none.
	before := snapshot(t, dir)
	writeSaid(t, c, dir, x, statements...)
	if !maps.Equal(before, snapshot(t, dir)) {
		t.Error("written a second time it differs")
	}
	writeLayout(t, c, dir, x, name)
	wantLayout(t, dir, x, name.Tags...)
}

func TestPredicates(t *testing.T) {
	c := openCache(t, t.TempDir())
	statements := said(t, fourArchs(t, c))
	for i, want := range []string{`{"spdxVersion":"SPDX-2.3"}`, `{"spdxVersion":"SPDX-2.3","name":"index"}`, `{"a":1}`} {
		if got, err := statements[i].Predicate(); err != nil || string(got) != want {
			t.Errorf("%s has the predicate %s, %v; want %s", statements[i].Name, got, err, want)
		}
	}
	statements[2].Content = []byte("{")
	if _, err := statements[2].Predicate(); err == nil {
		t.Error("half a statement is no error")
	}
}

// Other tools name referrers in index.json itself, without a tag.
func TestReferrersThatOtherToolsPutThereAreFound(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := fourArchs(t, c)
	statements := said(t, x)
	dir := filepath.Join(t.TempDir(), "layout")
	writeSaid(t, c, dir, x, statements...)
	l := openLayout(t, dir)
	all, err := l.Referrers(digestOf(t, x))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var top v1.IndexManifest
	if err := json.Unmarshal(raw, &top); err != nil {
		t.Fatal(err)
	}
	top.Manifests = top.Manifests[:1]
	for _, r := range all {
		d := r.Descriptor
		d.ArtifactType, d.Annotations = "", nil
		top.Manifests = append(top.Manifests, d)
	}
	if raw, err = json.Marshal(top); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "index.json"), string(raw))
	l = openLayout(t, dir)
	if d, err := l.Resolve(""); err != nil || d.Digest != digestOf(t, x) {
		t.Errorf("the only image is %v, %v", d.Digest, err)
	}
	if got, err := l.Statements(digestOf(t, x)); err != nil || len(got) != 2 {
		t.Errorf("%d statements, %v; want 2", len(got), err)
	}
}

func TestALayoutThatIsNotWhole(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := fourArchs(t, c)
	statements := said(t, x)
	dir := filepath.Join(t.TempDir(), "layout")
	writeSaid(t, c, dir, x, statements...)
	l := openLayout(t, dir)

	if _, err := l.Resolve("latest"); !errors.Is(err, image.ErrNotThere) {
		t.Errorf("an unknown tag: %v", err)
	} else {
		wantError(t, err, "latest", "its tags are 3.6.16-0")
	}
	digest, _, err := v1.SHA256(bytes.NewReader(statements[1].Content))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "blobs", "sha256", digest.Hex)
	writeFile(t, path, `{"spdxVersion":"SPDX-2.3","name":"other"}`)
	_, err = l.Statements(digestOf(t, x))
	wantError(t, err, digest.String(), "changed or damaged")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err = l.Statements(digestOf(t, x)); !errors.Is(err, image.ErrNotThere) {
		t.Errorf("a blob that is missing: %v", err)
	}
	if _, err := l.Open(digest); !errors.Is(err, image.ErrNotThere) {
		t.Errorf("a blob that is missing: %v", err)
	}

	for _, f := range []struct{ name, content string }{{"index.json", "["}, {"oci-layout", `{"imageLayoutVersion":"2.0.0"}`}} {
		writeFile(t, filepath.Join(dir, f.name), f.content)
		_, err := image.OpenLayout(dir)
		wantError(t, err, dir, f.name)
	}
	_, err = image.OpenLayout(t.TempDir())
	wantError(t, err, "oci-layout", "not in the layout")
}

func TestAnArchiveIsReadAsALayout(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := fourArchs(t, c)
	file := filepath.Join(t.TempDir(), "etcd.tar")
	if err := image.WriteArchive(t.Context(), file, x, name); err != nil {
		t.Fatal(err)
	}
	l, err := image.OpenArchive(file)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := l.Resolve(name.Tags[0])
	if err != nil || d.Digest != digestOf(t, x) {
		t.Fatalf("the archive's image is %v, %v", d.Digest, err)
	}
	for _, img := range imagesOf(t, x) {
		raw, err := l.Blob(digestOf(t, img))
		if err != nil {
			t.Fatal(err)
		}
		want, err := img.RawManifest()
		if err != nil || !bytes.Equal(raw, want) {
			t.Errorf("a manifest is %s, want %s (%v)", raw, want, err)
		}
		m, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range m.Layers {
			r, err := l.Open(layer.Digest)
			if err != nil {
				t.Fatal(err)
			}
			digest, n, err := v1.SHA256(r)
			if err != nil || digest != layer.Digest || n != layer.Size {
				t.Errorf("a layer is %s of %d bytes (%v), want %s of %d", digest, n, err, layer.Digest, layer.Size)
			}
			r.Close()
		}
	}
	if said, err := l.Statements(d.Digest); err != nil || len(said) != 0 {
		t.Errorf("an archive says %v, %v", said, err)
	}
	writeFile(t, file, "no archive")
	_, err = image.OpenArchive(file)
	wantError(t, err, file)
}

func TestCompanionsAreFoundByTagAndByKind(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := fourArchs(t, c)
	dir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, c, dir, x, name)
	subject := digestOf(t, x)
	for what, mark := range map[string]map[string]string{
		"tag":  {"org.opencontainers.image.ref.name": "sha256-" + subject.Hex + ".sig"},
		"kind": {"kind": "dev.cosignproject.cosign/sigs"},
	} {
		top := v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{
			{MediaType: "application/vnd.oci.image.index.v1+json", Digest: subject},
			{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: v1.Hash{Algorithm: "sha256", Hex: subject.Hex[1:] + "0"}, Annotations: mark},
		}}
		raw, err := json.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "index.json"), string(raw))
		l := openLayout(t, dir)
		if got := l.Companions(subject); len(got) != 1 || got["sig"].Digest != top.Manifests[1].Digest {
			t.Errorf("by %s there are %v", what, got)
		}
		if got := l.Companions(top.Manifests[1].Digest); len(got) != 0 {
			t.Errorf("by %s another digest has %v", what, got)
		}
		if d, err := l.Resolve(""); err != nil || d.Digest != subject {
			t.Errorf("by %s the only image is %v, %v", what, d.Digest, err)
		}
	}
}
