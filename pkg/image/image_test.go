package image_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/image-spec/schema"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/layer"
)

// zstd layers are left out here: the validator reads them by their media type,
// which it does not know.
func TestImagesAndIndexesAreValid(t *testing.T) {
	for _, how := range []layer.Compression{layer.Gzip, layer.EStargz} {
		x := makeIndex(t, openCache(t, t.TempDir()), how, "amd64", "arm64")
		if err := validate.Index(x); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestEveryDocumentFollowsTheSchemaOfTheSpecification(t *testing.T) {
	for _, how := range []layer.Compression{layer.Gzip, layer.Zstd, layer.EStargz} {
		x := makeIndex(t, openCache(t, t.TempDir()), how, "amd64", "arm64")
		raw, err := x.RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		follows(t, schema.ValidatorMediaTypeImageIndex, raw)
		for _, img := range imagesOf(t, x) {
			raw, err := img.RawManifest()
			if err != nil {
				t.Fatal(err)
			}
			follows(t, schema.ValidatorMediaTypeManifest, raw)
			config, err := img.RawConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			follows(t, schema.ValidatorMediaTypeImageConfig, config)
		}
	}
}

func follows(t *testing.T, v schema.Validator, document []byte) {
	t.Helper()
	if err := v.Validate(bytes.NewReader(document)); err != nil {
		t.Errorf("%v in\n%s", err, document)
	}
	if strings.Contains(string(document), "artifactType") {
		t.Errorf("artifactType in\n%s", document)
	}
	for _, foreign := range []string{"vnd.docker", "application/json"} {
		if strings.Contains(string(document), foreign) {
			t.Errorf("%s in\n%s", foreign, document)
		}
	}
}

func imagesOf(t *testing.T, x v1.ImageIndex) []v1.Image {
	t.Helper()
	m, err := x.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var images []v1.Image
	for _, d := range m.Manifests {
		img, err := x.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, img)
	}
	return images
}

func TestAnIndexDescribesItsImages(t *testing.T) {
	x := fourArchs(t, openCache(t, t.TempDir()))
	m, err := x.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.MediaType != ocispec.MediaTypeImageIndex || m.Annotations[ocispec.AnnotationTitle] != "etcd" {
		t.Errorf("index %+v", m)
	}
	var platforms []string
	for i, d := range m.Manifests {
		platforms = append(platforms, d.Platform.String())
		img := imagesOf(t, x)[i]
		raw, err := img.RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		if d.Digest != digestOf(t, img) || d.Size != int64(len(raw)) || d.MediaType != ocispec.MediaTypeImageManifest {
			t.Errorf("descriptor %+v", d)
		}
	}
	if got, want := strings.Join(platforms, " "), "linux/amd64 linux/arm64 linux/ppc64le linux/s390x"; got != want {
		t.Errorf("platforms %s, want %s", got, want)
	}
}

func TestTheConfigurationHoldsWhatTheSpecificationSays(t *testing.T) {
	img := makeImage(t, openCache(t, t.TempDir()), "arm64", layer.Gzip)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(spec("arm64").Config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(config.Config)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("config\n%s\nwant\n%s", got, want)
	}
	if config.OS != "linux" || config.Architecture != "arm64" || !config.Created.Equal(created) {
		t.Errorf("%s/%s of %v", config.OS, config.Architecture, config.Created)
	}
	if len(config.History) != 2 || len(config.RootFS.DiffIDs) != 2 {
		t.Fatalf("history %+v, diff IDs %v", config.History, config.RootFS.DiffIDs)
	}
	if h := config.History[1]; h.CreatedBy != "etcdimg build" || h.Comment != "etcd" || h.EmptyLayer {
		t.Errorf("history %+v", h)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Annotations["org.opencontainers.image.title"] != "etcd" {
		t.Errorf("annotations %v", m.Annotations)
	}
}

func TestLayersAreReadFromTheBlobs(t *testing.T) {
	img := makeImage(t, openCache(t, t.TempDir()), "amd64", layer.Gzip)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		got, n, err := v1.SHA256(r)
		r.Close()
		size, serr := l.Size()
		if err != nil || serr != nil || got != digestOf(t, l) || n != size {
			t.Errorf("layer %d is %s, %d bytes, %v", i, got, n, err)
		}
		u, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		diffID, _, err := v1.SHA256(u)
		u.Close()
		if err != nil || diffID != config.RootFS.DiffIDs[i] {
			t.Errorf("layer %d has diff ID %s, %v; the configuration says %s", i, diffID, err, config.RootFS.DiffIDs[i])
		}
	}
}

func TestTheSameInputsGiveTheSameBytes(t *testing.T) {
	a, b := fourArchs(t, openCache(t, t.TempDir())), fourArchs(t, openCache(t, t.TempDir()))
	if digestOf(t, a) != digestOf(t, b) {
		t.Errorf("%s, then %s", digestOf(t, a), digestOf(t, b))
	}
}

func TestAnImageOfNothingIsValid(t *testing.T) {
	img, err := image.New(image.Spec{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	follows(t, schema.ValidatorMediaTypeImageConfig, raw)
}

func TestTwoImagesOfOnePlatformAreNoIndex(t *testing.T) {
	c := openCache(t, t.TempDir())
	_, err := image.NewIndex([]v1.Image{makeImage(t, c, "amd64", layer.Gzip), makeImage(t, c, "amd64", layer.Zstd)}, nil)
	wantError(t, err, "linux/amd64")
}

func TestWhatIsNotInTheIndexIsAnError(t *testing.T) {
	c := openCache(t, t.TempDir())
	x := makeIndex(t, c, layer.Gzip, "amd64")
	other := digestOf(t, makeImage(t, c, "arm64", layer.Gzip))
	_, err := x.Image(other)
	wantError(t, err, other.String())
	_, err = x.ImageIndex(other)
	wantError(t, err, other.String())
}

func TestADamagedLayerRecordIsRefused(t *testing.T) {
	for _, l := range []layer.Layer{
		{Digest: "sha256:short", DiffID: "sha256:" + strings.Repeat("0", 64), Components: []string{"etcd"}},
		{Digest: "sha256:" + strings.Repeat("0", 64), DiffID: "", Components: []string{"etcd"}},
	} {
		_, err := image.New(spec("amd64"), []layer.Layer{l}, nil)
		wantError(t, err, "etcd")
	}
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
