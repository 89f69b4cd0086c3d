package build_test

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func mustHash(t *testing.T, s string) v1.Hash {
	t.Helper()
	h, err := v1.NewHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// contents are the files of an image by path: their first line, or what a hard
// link repeats.
func contents(t *testing.T, x v1.ImageIndex, digest string) map[string]string {
	t.Helper()
	img, err := x.Image(mustHash(t, digest))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		tr := tar.NewReader(r)
		for {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch h.Typeflag {
			case tar.TypeLink:
				files[h.Name] = "-> " + h.Linkname
			case tar.TypeReg:
				line, _, _ := bufio.NewReader(tr).ReadLine()
				files[h.Name] = string(line)
			}
		}
		r.Close()
	}
	return files
}
