package debian

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

const (
	packageCerts  = "/usr/share/ca-certificates/"
	localCerts    = "/usr/local/share/ca-certificates/"
	certsDir      = "/etc/ssl/certs/"
	bundleFile    = certsDir + "ca-certificates.crt"
	certsConf     = "/etc/ca-certificates.conf"
	originProfile = "profile"
	certsConfTop  = "# Certificates below " + packageCerts + " that are trusted.\n# A line that begins with ! names one that is not.\n"
)

// trusted is one certificate file that goes into the bundle.
type trusted struct {
	path    string
	content rootfs.Content
}

// bundleRecord is what a list of certificate files comes to.
type bundleRecord struct {
	Bundle string       `json:"bundle"` // digest of the blob
	Size   int64        `json:"size"`
	Hashes []hashedCert `json:"hashes"`
}

// hashedCert is a certificate under the name that OpenSSL looks it up by.
type hashedCert struct {
	Link   string `json:"link"`   // 5ed36f99.0
	Target string `json:"target"` // Name.pem
}

// applyCertificates makes what update-ca-certificates(8) would have made of
// the certificates in ca-certificates, all of them trusted, and those of the
// profile.
func applyCertificates(r *ruleRun) error {
	origin := "ca-certificates"
	if r.pkg == nil {
		origin = originProfile
	}
	certs, conf, err := r.packagedCerts()
	if err != nil {
		return err
	}
	local, err := localCertificates(r.opts.Certificates)
	if err != nil {
		return err
	}
	for _, c := range local {
		if err := r.parents(c.path, originProfile); err != nil {
			return err
		}
		if err := r.file(c.path, 0o644, c.content, originProfile); err != nil {
			return err
		}
	}
	if r.pkg != nil {
		if err := r.parents(localCerts+"x", origin); err != nil {
			return err
		}
		if err := r.file(certsConf, 0o644, rootfs.Bytes([]byte(certsConfTop+conf)), origin); err != nil {
			return err
		}
	}
	certs = append(certs, local...)
	bundle, hashes, err := makeBundle(r, certs)
	if err != nil {
		return err
	}
	if err := r.parents(bundleFile, origin); err != nil {
		return err
	}
	if err := r.file(bundleFile, 0o644, bundle, origin); err != nil {
		return err
	}
	for _, c := range certs {
		if err := r.link(certsDir+pemName(c.path), c.path, origin); err != nil {
			return err
		}
	}
	for _, h := range hashes {
		if err := r.link(certsDir+h.Link, h.Target, origin); err != nil {
			return err
		}
	}
	return nil
}

// packagedCerts returns the certificates that ca-certificates ships, sorted,
// and their lines in ca-certificates.conf.
func (r *ruleRun) packagedCerts() (certs []trusted, conf string, err error) {
	if r.pkg == nil {
		return nil, "", nil
	}
	for _, e := range r.pkg.Entries {
		if !strings.HasPrefix(e.Path, packageCerts) || !strings.HasSuffix(e.Path, ".crt") {
			continue
		}
		if in, ok := r.tree.Get(e.Path); ok && in.Type == rootfs.File {
			certs = append(certs, trusted{e.Path, in.Content})
		}
	}
	if len(certs) == 0 {
		return nil, "", fmt.Errorf("ca-certificates %s has no certificate below %s", r.pkg.Version, packageCerts)
	}
	slices.SortFunc(certs, func(a, b trusted) int { return strings.Compare(a.path, b.path) })
	for _, c := range certs {
		conf += strings.TrimPrefix(c.path, packageCerts) + "\n"
	}
	return certs, conf, nil
}

// CheckCertificate says what is wrong with a certificate of the profile, nil
// if nothing is.
func CheckCertificate(c Certificate) error {
	_, err := localCertificates([]Certificate{c})
	return err
}

func localCertificates(list []Certificate) ([]trusted, error) {
	var out []trusted
	for _, c := range list {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("certificate %q: %w", c.Name, fmt.Errorf(format, args...))
		}
		if c.Name == "" || len(c.Name) > 200 || strings.HasPrefix(c.Name, ".") || strings.ContainsFunc(c.Name, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
			return nil, fail("the name is to become a file name: no slash, no space, no dot at the start")
		}
		rest, n := c.PEM, 0
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			n++
			if block.Type != "CERTIFICATE" {
				return nil, fail("block %d is a %s: only CERTIFICATE blocks may be there", n, block.Type)
			}
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return nil, fail("block %d: %w", n, err)
			}
		}
		if n == 0 {
			return nil, fail("no PEM block: want -----BEGIN CERTIFICATE-----")
		}
		out = append(out, trusted{localCerts + c.Name + ".crt", rootfs.Bytes(endLine(c.PEM))})
	}
	slices.SortFunc(out, func(a, b trusted) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(out); i++ {
		if out[i].path == out[i-1].path {
			return nil, fmt.Errorf("certificate %q is there twice: give each a name of its own", strings.TrimSuffix(path.Base(out[i].path), ".crt"))
		}
	}
	return out, nil
}

// endLine makes sure that a file ends with a newline.
func endLine(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(slices.Clip(b), '\n')
	}
	return b
}

// pemName is the name that update-ca-certificates gives the link to a file.
func pemName(file string) string {
	return strings.NewReplacer(" ", "_", ",", "_", "(", "=", ")", "=").Replace(strings.TrimSuffix(path.Base(file), ".crt")) + ".pem"
}

// makeBundle returns the certificates one after the other and the names that
// OpenSSL looks them up by. A Store remembers the outcome.
func makeBundle(r *ruleRun, certs []trusted) (rootfs.Content, []hashedCert, error) {
	store := r.opts.Store
	parts := []string{"certificates 1"}
	for _, c := range certs {
		parts = append(parts, c.path, c.content.Digest())
	}
	key := recordKey(parts...)
	var rec bundleRecord
	if store != nil && store.ReadRecord(kindBundle, key, &rec) == nil && store.Has(rec.Bundle) {
		return &blobContent{store, rec.Bundle, rec.Size}, rec.Hashes, nil
	}
	var bundle bytes.Buffer
	contents := make([][]byte, len(certs))
	for i, c := range certs {
		data, err := readAll(c.content)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.path, err)
		}
		contents[i] = data
		bundle.Write(endLine(data))
	}
	hashes, err := rehash(certs, contents)
	if err != nil {
		return nil, nil, err
	}
	if store == nil {
		return rootfs.Bytes(bundle.Bytes()), hashes, nil
	}
	rec.Hashes = hashes
	if rec.Bundle, rec.Size, err = store.Put(r.ctx, &bundle); err != nil {
		return nil, nil, err
	}
	if err := store.WriteRecord(kindBundle, key, rec); err != nil {
		return nil, nil, err
	}
	return &blobContent{store, rec.Bundle, rec.Size}, hashes, nil
}

// rehash gives certificates the names that openssl-rehash(1) gives them: the
// subject's hash, and a number that counts those with the same one. Files with
// several certificates, and certificates that are there under another name
// already, get none.
func rehash(certs []trusted, contents [][]byte) ([]hashedCert, error) {
	byName := map[string][]byte{}
	for i, c := range certs {
		byName[pemName(c.path)] = contents[i] // the last one has the name
	}
	var out []hashedCert
	count := map[string]int{}
	seen := map[[sha256.Size]byte]bool{}
	for _, name := range sortedKeys(byName) {
		block, rest := pem.Decode(byName[name])
		if block == nil {
			return nil, fmt.Errorf("%s: no PEM block", name)
		}
		if more, _ := pem.Decode(rest); more != nil || block.Type != "CERTIFICATE" {
			continue
		}
		print := sha256.Sum256(block.Bytes)
		if seen[print] {
			continue
		}
		seen[print] = true
		hash, err := subjectHash(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, hashedCert{fmt.Sprintf("%s.%d", hash, count[hash]), name})
		count[hash]++
	}
	return out, nil
}

// blobContent is content that is a blob of its own.
type blobContent struct {
	store  Store
	digest string
	size   int64
}

func (b *blobContent) Digest() string { return b.digest }
func (b *blobContent) Size() int64    { return b.size }
func (b *blobContent) Open() (io.ReadCloser, error) {
	return b.store.Open(b.digest)
}

func readAll(c rootfs.Content) ([]byte, error) {
	f, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err == nil && int64(len(b)) != c.Size() {
		err = errors.New("the content is cut short")
	}
	return b, err
}
