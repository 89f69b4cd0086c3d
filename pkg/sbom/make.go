package sbom

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// Format is a format of SBOMs.
type Format string

// The formats, by the names that commands have for them.
const (
	SPDX      Format = "spdx"      // SPDX 2.3, JSON
	CycloneDX Format = "cyclonedx" // CycloneDX 1.6, JSON
)

// MediaType is the format's media type, by which a referrer's artifactType
// tells it.
func (f Format) MediaType() string {
	if f == CycloneDX {
		return "application/vnd.cyclonedx+json"
	}
	return "application/spdx+json"
}

// PredicateType names the format in in-toto attestations, as cosign has it.
func (f Format) PredicateType() string {
	if f == CycloneDX {
		return "https://cyclonedx.org/bom"
	}
	return "https://spdx.dev/Document"
}

// Ending is how names of files in the format end.
func (f Format) Ending() string {
	if f == CycloneDX {
		return ".cdx.json"
	}
	return ".spdx.json"
}

// Store keeps what was found and written, by what it follows from. pkg/cache is
// one.
type Store interface {
	Put(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	Open(digest string) (*os.File, error)
	ReadRecord(kind, key string, v any) error
	WriteRecord(kind, key string, v any) error
	Lock(ctx context.Context, kind, key string) (unlock func(), err error)
}

// The cache's names for what an image has in it, and for written documents.
const (
	recordInventory = "sbom-inventory"
	recordDocument  = "sbom"
)

// Maker makes SBOMs of images, each once per store.
type Maker struct {
	Store   Store
	Modules Modules // nil for none: what the store does not know of modules' licences stays unknown
	// OnScan, when it is not nil, is called before the files of an image are
	// looked at; an image that the store knows is not.
	OnScan func()
}

// document is a written SBOM in the store.
type document struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Inside returns the SBOM that lies in the image, at f.InsidePath. It is SPDX,
// and describes everything in the image but itself.
func (m *Maker) Inside(ctx context.Context, f Facts) (rootfs.Content, error) {
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	d, err := m.document(ctx, cache.Key("inside", key), func() ([]byte, error) {
		inv, err := m.inventory(ctx, f, key)
		if err != nil {
			return nil, err
		}
		return spdxImage(inv, f, "")
	})
	return content{d, m.Store}, err
}

// Image returns the SBOM of an image whose manifest has the digest subject.
// diffIDs are the digests of its uncompressed layers, lowest first: what they
// and the facts determine is not made again.
func (m *Maker) Image(ctx context.Context, format Format, f Facts, subject string, diffIDs []string) ([]byte, error) {
	h := sha256.New()
	add(h, form, SyftVersion, string(format), subject)
	add(h, diffIDs...)
	if err := f.addInputs(h); err != nil {
		return nil, err
	}
	d, err := m.document(ctx, hex.EncodeToString(h.Sum(nil)), func() ([]byte, error) {
		key, err := f.key()
		if err != nil {
			return nil, err
		}
		inv, err := m.inventory(ctx, f, key)
		if err != nil {
			return nil, err
		}
		if err := inv.addInside(f); err != nil {
			return nil, err
		}
		if format == CycloneDX {
			return cyclonedxImage(inv, f, subject)
		}
		return spdxImage(inv, f, subject)
	})
	if err != nil {
		return nil, err
	}
	r, err := content{d, m.Store}.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// addInside adds the SBOM in the image, which no inventory has.
func (inv *inventory) addInside(f Facts) error {
	e, ok := f.Tree.Get(f.InsidePath())
	if !ok || e.Type != rootfs.File {
		return nil
	}
	file, err := listFile(e)
	inv.Files = append(inv.Files, file)
	inv.sort()
	return err
}

// inventory returns what is in an image. It is looked at once per store.
func (m *Maker) inventory(ctx context.Context, f Facts, key string) (*inventory, error) {
	var inv inventory
	err := m.Store.ReadRecord(recordInventory, key, &inv)
	if err == nil {
		return &inv, nil
	}
	if !errors.Is(err, cache.ErrNotFound) {
		return nil, err
	}
	if m.OnScan != nil {
		m.OnScan()
	}
	made, err := collect(ctx, f, &knowledge{m.Store, m.Modules})
	if err != nil {
		return nil, fmt.Errorf("listing what is in the image: %w", err)
	}
	return made, m.Store.WriteRecord(recordInventory, key, made)
}

// document returns the document of a key, which is written where the store
// lacks it.
func (m *Maker) document(ctx context.Context, key string, write func() ([]byte, error)) (document, error) {
	var d document
	err := m.Store.ReadRecord(recordDocument, key, &d)
	if err == nil {
		f, err := m.Store.Open(d.Digest)
		if err == nil {
			return d, f.Close()
		}
		if !errors.Is(err, cache.ErrNotFound) {
			return d, err
		}
	} else if !errors.Is(err, cache.ErrNotFound) {
		return d, err
	}
	b, err := write()
	if err != nil {
		return d, err
	}
	if d.Digest, d.Size, err = m.Store.Put(ctx, bytes.NewReader(b)); err != nil {
		return d, err
	}
	return d, m.Store.WriteRecord(recordDocument, key, d)
}

// content is a document as the content of a file.
type content struct {
	document
	store Store
}

func (c content) Digest() string { return c.document.Digest }
func (c content) Size() int64    { return c.document.Size }
func (c content) Open() (io.ReadCloser, error) {
	f, err := c.store.Open(c.document.Digest)
	if err != nil {
		return nil, fmt.Errorf("reading an SBOM: %w", err)
	}
	return f, nil
}

// namespaceOf is the name of an SPDX document.
func namespaceOf(b []byte) (string, error) {
	name, err := topLevel(b, "documentNamespace")
	if err != nil || !strings.HasPrefix(name, "http") {
		return "", fmt.Errorf("an image's SBOM has no namespace: %v", err)
	}
	return name, nil
}

// serialOf is the name of a CycloneDX document.
func serialOf(b []byte) (string, error) {
	serial, err := topLevel(b, "serialNumber")
	if err != nil || serial == "" {
		return "", fmt.Errorf("an image's SBOM has no serial number: %v", err)
	}
	return serial, nil
}

// topLevel is a string of a JSON object by its key; empty where it has none. It is
// among the first in SBOMs, and nothing after it is read.
func topLevel(b []byte, key string) (string, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", errors.Join(errors.New("no JSON object"), err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return "", err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return "", err
		}
		if name == key {
			var s string
			err := json.Unmarshal(value, &s)
			return s, err
		}
	}
	return "", nil
}
