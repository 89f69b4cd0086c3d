package image_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/image"
)

// note is a small image with a text in it.
func note(t *testing.T, text string) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer([]byte(text), "text/plain"))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// written is a layout with one image.
func written(t *testing.T) (dir string, d v1.Descriptor) {
	t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: mutate.MediaType(img, types.OCIManifestSchema1)})); err != nil {
		t.Fatal(err)
	}
	l, err := image.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = l.Resolve(""); err != nil {
		t.Fatal(err)
	}
	return dir, d
}

func TestAttachedIsFound(t *testing.T) {
	dir, d := written(t)
	sig := strings.Replace(d.Digest.String(), ":", "-", 1) + ".sig"
	for _, text := range []string{"first", "second"} {
		if err := image.Attach(dir, note(t, text), sig); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"a", "b", "a"} {
		about := mutate.Subject(note(t, text), d).(v1.Image)
		if err := image.Attach(dir, about, ""); err != nil {
			t.Fatal(err)
		}
	}
	l, err := image.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	if tags := l.SideTags(d.Digest); len(tags) != 1 || tags[0] != sig {
		t.Errorf("tags of the image: %q, want %q", tags, sig)
	}
	found, err := l.Resolve(sig)
	if err != nil {
		t.Fatal(err)
	}
	want, err := note(t, "second").Digest()
	if err != nil || found.Digest != want {
		t.Errorf("%s is %s, want %s (%v)", sig, found.Digest, want, err)
	}
	if found.Annotations["kind"] != "dev.cosignproject.cosign/sigs" {
		t.Errorf("the signatures are marked %v", found.Annotations)
	}
	if again, err := l.Resolve(""); err != nil || again.Digest != d.Digest || again.Annotations["kind"] != "dev.cosignproject.cosign/image" {
		t.Errorf("the image is %+v, %v", again, err)
	}
	referrers, err := l.Referrers(d.Digest)
	if err != nil || len(referrers) != 2 {
		t.Errorf("%d referrers, %v; want 2", len(referrers), err)
	}
	img, err := l.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := img.Digest(); err != nil || got != d.Digest {
		t.Errorf("the image read is %s, %v", got, err)
	}
	// No list, and no half file, is left behind: only what index.json leads to.
	left, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", ".new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSeveralWritersLoseNothing(t *testing.T) {
	dir, d := written(t)
	var wg sync.WaitGroup
	const n = 20
	for i := range n {
		wg.Go(func() {
			if err := image.Attach(dir, mutate.Subject(note(t, fmt.Sprint(i)), d).(v1.Image), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l, err := image.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	if referrers, err := l.Referrers(d.Digest); err != nil || len(referrers) != n {
		t.Errorf("%d referrers, %v; want %d", len(referrers), err, n)
	}
}

func TestAttachNeedsALayout(t *testing.T) {
	dir := t.TempDir()
	if err := image.Attach(dir, note(t, "x"), "y"); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it wrote %v, %v", entries, err)
	}
}
