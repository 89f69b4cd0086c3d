package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	warmShare = 20        // a warm build is to take this part of ko's time at most
	warmPeak  = 110 << 20 // bytes
)

// warm measures builds with full caches: etcdimg's and ko's of the same server
// for the same architectures in turns, then etcdimg's after an annotation
// changed.
func (b *workbench) warm(ctx context.Context, runs int) ([]row, error) {
	fmt.Fprintln(os.Stderr, "measuring warm builds")
	base, stop, err := b.baseImage()
	if err != nil {
		return nil, err
	}
	defer stop()

	var ours, kos, annotated []cost
	// The first round fills what is not filled yet.
	for i := range runs + 1 {
		_, our, err := b.build(b.cache(), filepath.Join(b.repo, profilePath)).run(ctx)
		if err != nil {
			return nil, err
		}
		_, ko, err := b.koBuild(base).run(ctx)
		if err != nil {
			return nil, err
		}
		profile := filepath.Join(b.root, "annotated.yaml")
		text := fmt.Sprintf("include: %s\nannotations: {org.example.run: \"%d\"}\n", filepath.Join(b.repo, profilePath), i)
		if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
			return nil, err
		}
		_, other, err := b.build(b.cache(), profile).run(ctx)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			ours, kos, annotated = append(ours, our), append(kos, ko), append(annotated, other)
		}
	}
	our, ko, other := median(ours), median(kos), median(annotated)
	archs := fmt.Sprintf("%d architectures", len(b.profile.Archs))
	return []row{
		{"warm build, nothing changed, " + archs, our.String(), fmt.Sprintf("< %d MiB", warmPeak>>20), our.peak < warmPeak},
		{"ko, the same server, warm, " + archs, ko.String(), "", true},
		{"warm build / ko", fmt.Sprintf("1/%.1f", ko.wall.Seconds()/our.wall.Seconds()), fmt.Sprintf("1/%d", warmShare), our.wall*warmShare <= ko.wall},
		{"warm build, annotation changed, " + archs, other.String(), "", true},
	}, nil
}

func (b *workbench) cache() string { return filepath.Join(b.root, "cache") }

// build is a build of etcdimg into the same place each time.
func (b *workbench) build(cache, profile string) *process {
	return &process{
		argv: []string{b.etcdimg, "build", profile, "-q", "-o", filepath.Join(b.root, "layout"), "--output", "json"},
		dir:  b.root,
		env:  map[string]string{"ETCDIMG_CACHE": cache},
	}
}

// koBuild is ko's build of the server into an OCI layout, without an SBOM, as
// ours has none yet, and with ko's own cache of layers.
func (b *workbench) koBuild(base string) *process {
	var platforms []string
	for _, arch := range b.profile.Archs {
		platforms = append(platforms, "linux/"+arch)
	}
	p := b.goCommand(map[string]string{
		"KO_DOCKER_REPO":      "ko.local",
		"KO_DEFAULTBASEIMAGE": base,
		"KOCACHE":             filepath.Join(b.root, "ko-cache"),
		"DOCKER_CONFIG":       b.root,
	})
	p.argv = []string{b.ko, "build", "--push=false", "--sbom=none", "--oci-layout-path", filepath.Join(b.root, "ko-layout"), "--platform", strings.Join(platforms, ","), server}
	return p
}

// baseImage serves an index of empty images, one for each architecture, to ko,
// which can only take a base image from a registry. A registry that is only
// read is a few files (OCI distribution-spec, Pulling manifests).
func (b *workbench) baseImage() (ref string, stop func(), err error) {
	files := map[string]served{}
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range b.profile.Archs {
		image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"}})
		if err != nil {
			return "", nil, err
		}
		config, err := image.RawConfigFile()
		if err != nil {
			return "", nil, err
		}
		manifest, err := image.RawManifest()
		if err != nil {
			return "", nil, err
		}
		files["/v2/scratch/blobs/"+digest(config)] = served{string(types.OCIConfigJSON), config}
		files["/v2/scratch/manifests/"+digest(manifest)] = served{string(types.OCIManifestSchema1), manifest}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	top, err := index.RawManifest()
	if err != nil {
		return "", nil, err
	}
	files["/v2/scratch/manifests/latest"] = served{string(types.OCIImageIndex), top}
	files["/v2/scratch/manifests/"+digest(top)] = files["/v2/scratch/manifests/latest"]
	files["/v2/"] = served{"application/json", []byte("{}")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", f.mediaType)
		w.Header().Set("Docker-Content-Digest", digest(f.content))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	}))
	return server.Listener.Addr().String() + "/scratch:latest", server.Close, nil
}

type served struct {
	mediaType string
	content   []byte
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// sizes tells how large the layers of each architecture are.
func (b *workbench) sizes(ctx context.Context) ([]row, error) {
	out, err := b.build(b.cache(), filepath.Join(b.repo, profilePath)).output(ctx)
	if err != nil {
		return nil, err
	}
	var result struct {
		Images []struct {
			Arch   string `json:"arch"`
			Layers []struct {
				Size int64 `json:"size"`
			} `json:"layers"`
		} `json:"images"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		return nil, err
	}
	if len(result.Images) == 0 {
		return nil, errors.New("the build names no image")
	}
	const largest = 16_000_000 // bytes, on amd64
	var rows []row
	for _, image := range result.Images {
		var size int64
		for _, layer := range image.Layers {
			size += layer.Size
		}
		r := row{what: "compressed, " + image.Arch, figure: fmt.Sprintf("%.2f MB", float64(size)/1e6)}
		if image.Arch == "amd64" {
			r.target, r.met = "16 MB", size <= largest
		}
		rows = append(rows, r)
	}
	return rows, nil
}
