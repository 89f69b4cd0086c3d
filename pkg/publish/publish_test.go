package publish_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/etcdimg/etcdimg/pkg/publish"
)

// recorder is a registry that writes down what it is told, and breaks when it
// was told enough.
type recorder struct {
	steps []string
	after int // steps before it breaks; -1 for never
}

var errBroken = errors.New("broken")

func (r *recorder) step(s string) error {
	if r.after == len(r.steps) {
		return errBroken
	}
	r.steps = append(r.steps, s)
	return nil
}

func (r *recorder) Push(_ context.Context, repo name.Repository, what remote.Taggable, from ...name.Repository) (name.Digest, error) {
	h, err := what.(interface{ Digest() (v1.Hash, error) }).Digest()
	if err != nil {
		return name.Digest{}, err
	}
	kind := "image"
	if _, ok := what.(v1.ImageIndex); ok {
		kind = "index"
	}
	return repo.Digest(h.String()), r.step(fmt.Sprintf("push %s to %s from %v", kind, repo.RepositoryStr(), from))
}

func (r *recorder) Tag(_ context.Context, d name.Digest, tag string) error {
	return r.step(fmt.Sprintf("tag %s:%s", d.Context().RepositoryStr(), tag))
}

func request(t *testing.T) publish.Request {
	t.Helper()
	x, err := random.Index(64, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	req := publish.Request{What: x}
	for _, s := range []string{"one", "two"} {
		repo, err := name.NewRepository("registry.example/" + s)
		if err != nil {
			t.Fatal(err)
		}
		req.Targets = append(req.Targets, publish.Target{Repository: repo, Tags: []string{"v1", "latest"}})
	}
	return req
}

func TestTagsMoveLast(t *testing.T) {
	r := &recorder{after: -1}
	done, err := publish.Publish(t.Context(), r, request(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"push index to one from []", "push index to two from [registry.example/one]",
		"tag one:v1", "tag one:latest", "tag two:v1", "tag two:latest",
	}
	if !slices.Equal(r.steps, want) {
		t.Errorf("did %q, want %q", r.steps, want)
	}
	if len(done) != 2 || !slices.Equal(done[1].Tags, []string{"v1", "latest"}) || len(done[0].Images) != 2 {
		t.Errorf("reported %+v", done)
	}
	// Wherever it breaks, no tag has moved before everything is there.
	for n := range want {
		r := &recorder{after: n}
		if _, err := publish.Publish(t.Context(), r, request(t)); !errors.Is(err, errBroken) {
			t.Errorf("broken after %d steps: %v", n, err)
		}
		if n <= 2 && strings.Contains(strings.Join(r.steps, " "), "tag ") {
			t.Errorf("broken after %d steps, a tag had moved: %q", n, r.steps)
		}
	}
}

func TestByDigestPushesImagesAlone(t *testing.T) {
	r := &recorder{after: -1}
	req := request(t)
	req.ByDigest = true
	done, err := publish.Publish(t.Context(), r, req)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"push image to one from []", "push image to one from []",
		"push image to two from [registry.example/one]", "push image to two from [registry.example/one]",
	}
	if !slices.Equal(r.steps, want) || done[0].Digest != "" || len(done[0].Tags) != 0 {
		t.Errorf("did %q, reported %+v", r.steps, done)
	}
}
