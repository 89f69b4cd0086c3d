package registry

import (
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// mountable marks every blob of an image or index as one that the registry may
// take from a repository of its own.
func mountable(what remote.Taggable, from name.Repository) remote.Taggable {
	switch w := what.(type) {
	case v1.ImageIndex:
		return mountableIndex{w, from}
	case v1.Image:
		return mountableImage{w, from}
	}
	return what
}

// inner has another name than the interface, which has a method of its own name.
type inner = v1.ImageIndex

type mountableIndex struct {
	inner
	from name.Repository
}

var _ v1.ImageIndex = mountableIndex{}

func (x mountableIndex) Image(h v1.Hash) (v1.Image, error) {
	img, err := x.inner.Image(h)
	if err != nil {
		return nil, err
	}
	return mountableImage{img, x.from}, nil
}

type mountableImage struct {
	v1.Image
	from name.Repository
}

func (i mountableImage) Layers() ([]v1.Layer, error) {
	layers, err := i.Image.Layers()
	if err != nil {
		return nil, err
	}
	for n, l := range layers {
		layers[n] = &remote.MountableLayer{Layer: l, Reference: i.from.Tag("")}
	}
	return layers, nil
}
