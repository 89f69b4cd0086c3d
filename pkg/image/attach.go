package image

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Cosign's annotations of the image that a layout is about.
const (
	cosignImage = "dev.cosignproject.cosign/image"
	cosignIndex = "dev.cosignproject.cosign/imageIndex"
)

// Attach adds a small image, such as signatures, to the OCI layout in a
// directory. One with a subject becomes its referrer; another one gets the
// tag, in place of what had it. Readers see the layout as it was or as it is
// then; of several writers one waits for the other.
//
// Signatures and attestations (cosign's tags, .sig and .att) of the layout's
// first image are marked so that cosign's --local-image finds them.
func Attach(dir string, img v1.Image, tag string) error {
	if err := attach(dir, img, tag); err != nil {
		return fmt.Errorf("adding to the OCI layout %s: %w", dir, err)
	}
	return nil
}

func attach(dir string, img v1.Image, tag string) error {
	lock, err := os.Open(filepath.Join(dir, ocispec.ImageLayoutFile))
	if err != nil {
		return err
	}
	defer lock.Close()
	// Blobs are in nobody's way; only what names them is.
	entry, subject, err := addImage(dir, img)
	if err != nil {
		return err
	}
	// A file system without locks is borne, as elsewhere.
	_ = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	l, err := readLayout(os.DirFS(dir))
	if err != nil {
		return err
	}
	if subject != nil {
		if entry, err = l.addReferrer(dir, subject.Digest, entry); err != nil {
			return err
		}
		tag = referrersTag(subject.Digest)
	}
	entry.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	l.place(entry, tag)
	raw, err := json.Marshal(l.top)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, ocispec.ImageIndexFile), raw)
}

// addImage stores the blobs of an image, and returns its descriptor and its
// subject.
func addImage(dir string, img v1.Image) (v1.Descriptor, *v1.Descriptor, error) {
	raw, err := img.RawManifest()
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return v1.Descriptor{}, nil, err
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return v1.Descriptor{}, nil, err
		}
		if _, err := addBlob(dir, "", b); err != nil {
			return v1.Descriptor{}, nil, err
		}
	}
	if _, err := addBlob(dir, "", config); err != nil {
		return v1.Descriptor{}, nil, err
	}
	d, err := addBlob(dir, types.OCIManifestSchema1, raw)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return v1.Descriptor{}, nil, err
	}
	d.MediaType = m.MediaType
	if m.Subject != nil {
		d.ArtifactType, d.Annotations = m.ArtifactType, m.Annotations
	}
	return d, m.Subject, nil
}

// addReferrer writes a subject's list of referrers with one more, and returns
// the list's descriptor. The old list goes.
func (l *Layout) addReferrer(dir string, subject v1.Hash, entry v1.Descriptor) (v1.Descriptor, error) {
	list := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	var old *v1.Hash
	for _, d := range l.top.Manifests {
		if d.Annotations[ocispec.AnnotationRefName] == referrersTag(subject) {
			var err error
			if list, err = l.index(d); err != nil {
				return v1.Descriptor{}, err
			}
			old = &d.Digest
		}
	}
	if !slices.ContainsFunc(list.Manifests, func(d v1.Descriptor) bool { return d.Digest == entry.Digest }) {
		list.Manifests = append(list.Manifests, entry)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d, err := addBlob(dir, types.OCIImageIndex, raw)
	if err == nil && old != nil && *old != d.Digest {
		defer os.Remove(filepath.Join(dir, blob{digest: *old}.path()))
	}
	return d, err
}

// place puts an entry into index.json, in place of the one with its tag.
func (l *Layout) place(entry v1.Descriptor, tag string) {
	if root := slices.IndexFunc(l.top.Manifests, l.isImage); root >= 0 {
		d := l.top.Manifests[root].Digest
		for suffix, kind := range map[string]string{".sig": cosignSignatures, ".att": cosignAttestations} {
			if tag == referrersTag(d)+suffix {
				entry.Annotations[cosignKind] = kind
				l.mark(d)
			}
		}
	}
	i := slices.IndexFunc(l.top.Manifests, func(d v1.Descriptor) bool { return d.Annotations[ocispec.AnnotationRefName] == tag })
	if i < 0 {
		l.top.Manifests = append(l.top.Manifests, entry)
		return
	}
	l.top.Manifests[i] = entry
}

// mark says of an image that it is what the layout's signatures are about.
func (l *Layout) mark(h v1.Hash) {
	for i, d := range l.top.Manifests {
		if d.Digest != h {
			continue
		}
		kind := cosignImage
		if d.MediaType.IsIndex() {
			kind = cosignIndex
		}
		annotations := maps.Clone(d.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[cosignKind] = kind
		l.top.Manifests[i].Annotations = annotations
	}
}

// addBlob stores bytes under their digest.
func addBlob(dir string, mediaType types.MediaType, b []byte) (v1.Descriptor, error) {
	d, err := describeBytes(mediaType, b)
	if err != nil {
		return d, err
	}
	return d, replaceFile(filepath.Join(dir, blob{digest: d.Digest}.path()), b)
}

// replaceFile writes a file beside its place and moves it there. The name
// begins with a dot: readers of layouts look for digests only.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// SideTags are the tags of the layout that belong to a digest by their name:
// cosign's signatures and attestations.
func (l *Layout) SideTags(subject v1.Hash) []string {
	var tags []string
	for _, d := range l.top.Manifests {
		tag := d.Annotations[ocispec.AnnotationRefName]
		if strings.HasPrefix(tag, referrersTag(subject)+".") {
			tags = append(tags, tag)
		}
	}
	return tags
}
