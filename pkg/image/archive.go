package image

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// WriteArchive writes an index as one tar archive that is an OCI layout and a
// docker archive at the same time, both over the same blobs: docker load,
// podman load, skopeo's oci-archive: and, unpacked, umoci take it. Layers that
// zstd compressed are there twice: docker's archive has them as plain tar. The
// file at path changes only when the new one is complete.
func WriteArchive(ctx context.Context, path string, x v1.ImageIndex, name Name) error {
	err := writeFile(path, func(w io.Writer) error {
		tw := tar.NewWriter(w)
		if err := fillArchive(ctx, tw, x, name); err != nil {
			return err
		}
		return tw.Close()
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func fillArchive(ctx context.Context, tw *tar.Writer, x v1.ImageIndex, name Name) error {
	plain, err := plainLayers(x)
	if err != nil {
		return err
	}
	blobs, err := contents(x, plain...)
	if err != nil {
		return err
	}
	top, err := topIndex(x, name, true)
	if err != nil {
		return err
	}
	docker, err := dockerManifest(x, name, plain)
	if err != nil {
		return err
	}
	epoch := time.Unix(0, 0)
	for _, f := range []struct {
		name string
		b    []byte
	}{
		{ocispec.ImageLayoutFile, []byte(layoutFile)},
		{ocispec.ImageIndexFile, top},
		{"manifest.json", docker},
	} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.b)), ModTime: epoch}); err != nil {
			return err
		}
		if _, err := tw.Write(f.b); err != nil {
			return err
		}
	}
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch}); err != nil {
			return err
		}
	}
	for _, b := range blobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := archiveBlob(tw, b, epoch); err != nil {
			return err
		}
	}
	return nil
}

func archiveBlob(tw *tar.Writer, b blob, epoch time.Time) error {
	r, err := b.open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: b.path(), Mode: 0o644, Size: b.size, ModTime: epoch}); err != nil {
		return err
	}
	if _, err := io.Copy(tw, r); err != nil {
		return fmt.Errorf("archiving blob %s: %w", b.digest, err)
	}
	return nil
}
