package build_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// counter says how many files an image has, and of an index how much was said
// about its images.
type counter struct {
	name string
	err  error
}

func (c counter) DescribeImage(_ context.Context, r *build.Result, i *build.Image) (image.Statement, error) {
	n := 0
	err := i.Tree.Walk(func(*rootfs.Entry) error { n++; return nil })
	return image.Statement{Name: c.name + "-" + i.Arch, ArtifactType: "text/plain", Content: fmt.Appendf(nil, "%d files, %d layers, etcd %s", n, len(i.Layers), r.Lock.Etcd[0].Version)}, errors.Join(err, c.err)
}

func (c counter) DescribeIndex(_ context.Context, r *build.Result) (image.Statement, error) {
	return image.Statement{Name: c.name + "-index", ArtifactType: "text/plain", Content: fmt.Appendf(nil, "%d statements, %v", len(r.Statements), r.Resolved.Archs)}, nil
}

func TestWhatIsSaidAboutAnImageStandsInTheResultAndTheLayout(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.Describers = []build.Describer{counter{name: "a"}, counter{name: "b"}}
	p, out := read(t, text), filepath.Join(t.TempDir(), "out")
	r, err := l.Build(t.Context(), p, pins(p), p.Archs, func(r *build.Result) error {
		return image.WriteLayout(t.Context(), out, r.Index, image.Name{}, l.Cache, r.Statements...)
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range r.Statements {
		names = append(names, s.Name)
	}
	if want := []string{"a-amd64", "b-amd64", "a-arm64", "b-arm64", "a-index", "b-index"}; !slices.Equal(names, want) {
		t.Errorf("statements %q, want %q", names, want)
	}
	if got := string(r.Statements[4].Content); got != "4 statements, [amd64 arm64]" {
		t.Errorf("about the index: %s", got)
	}
	read, err := image.OpenLayout(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, digest := range []string{r.Images[0].Digest, r.Images[1].Digest, r.Digest} {
		said, err := read.Statements(mustHash(t, digest))
		if err != nil || len(said) != 2 {
			t.Fatalf("about %s the layout says %v, %v", digest, said, err)
		}
		if about := r.About(mustHash(t, digest)); len(about) != 2 || string(about[0].Content) != string(said[0].Content) || about[1].Subject.Digest.String() != digest {
			t.Errorf("about %s the result says %v, the layout %v", digest, about, said)
		}
	}
}

func TestWhatCanNotBeDescribedIsNotBuilt(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.Describers = []build.Describer{counter{name: "a", err: errors.New("has no name")}}
	p := read(t, text)
	_, err := l.Build(t.Context(), p, pins(p), p.Archs[:1], func(*build.Result) error {
		t.Error("written all the same")
		return nil
	})
	if err == nil || err.Error() != "describing the image for amd64: has no name" {
		t.Errorf("error is %v", err)
	}
}
