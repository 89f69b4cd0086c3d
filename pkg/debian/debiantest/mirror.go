// Package debiantest makes Debian archives for tests: packages, indexes, and
// signatures by a key that the test makes, served over HTTP on the loopback
// interface or written to a folder. Whatever it makes can be damaged.
package debiantest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Key signs an archive.
type Key struct{ entity *openpgp.Entity }

// NewKey makes a key that is valid from the given time on.
func NewKey(created time.Time) *Key {
	e, err := openpgp.NewEntity("Test archive", "", "archive@mirror.example", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA,
		Time:      func() time.Time { return created },
	})
	must(err)
	return &Key{e}
}

// Public is the public key, armored: what contents.keyring takes.
func (k *Key) Public() []byte {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	must(err)
	must(k.entity.Serialize(w))
	must(w.Close())
	return b.Bytes()
}

// PublicBinary is the public key without armor.
func (k *Key) PublicBinary() []byte {
	var b bytes.Buffer
	must(k.entity.Serialize(&b))
	return b.Bytes()
}

// Fingerprint is the key's fingerprint in upper-case hex.
func (k *Key) Fingerprint() string {
	return strings.ToUpper(hex.EncodeToString(k.entity.PrimaryKey.Fingerprint))
}

// Mirror is a mirror of archives that exist for one test.
type Mirror struct {
	Key *Key
	Now time.Time // what the default dates of suites are taken from

	mu       sync.Mutex
	suites   []*Suite
	signed   map[string][]byte // text and way of signing → signature: signing twice does not give the same bytes
	patches  []func(map[string][]byte)
	requests []string
}

// NewMirror makes an empty mirror with a key of its own. Suites are dated an
// hour before now.
func NewMirror(now time.Time) *Mirror {
	now = now.UTC().Truncate(time.Second)
	return &Mirror{Key: NewKey(now.Add(-24 * time.Hour)), Now: now}
}

// Suite is one suite of an archive. Its fields may be changed until it is
// served.
type Suite struct {
	Archive    string // debian
	Name       string // trixie: directory, and codename
	Suite      string // the Suite field; Name if empty
	Date       time.Time
	ValidUntil time.Time // none if zero
	Archs      []string  // Debian's names
	Component  string
	Forms      []string // of Packages: xz, gz, zst, none
	ByHash     bool
	Detached   bool // Release and Release.gpg in the place of InRelease
	NoAll      bool // no binary-all index
	// SeparateAll keeps Architecture: all packages out of the architectures'
	// own indexes.
	SeparateAll bool
	Keys        []*Key
	Extra       string // further lines of the Release file

	mirror *Mirror
	debs   []builtDeb
}

type builtDeb struct {
	Deb
	data []byte
}

// Suite returns a suite of the mirror, which it makes if there is none.
func (m *Mirror) Suite(archive, name string) *Suite {
	for _, s := range m.suites {
		if s.Archive == archive && s.Name == name {
			return s
		}
	}
	s := &Suite{
		mirror: m, Archive: archive, Name: name, Date: m.Now.Add(-time.Hour), Component: "main",
		Archs: []string{"amd64", "arm64", "ppc64el", "s390x"}, Forms: []string{"gz"}, ByHash: true, Keys: []*Key{m.Key},
	}
	m.suites = append(m.suites, s)
	return s
}

// Add puts packages into the suite.
func (s *Suite) Add(debs ...Deb) *Suite {
	for _, d := range debs {
		d = d.normal()
		s.debs = append(s.debs, builtDeb{d, d.Bytes()})
	}
	return s
}

// Patch changes the files of the mirror, by their paths ("debian/dists/…"),
// after they are made: to damage or to remove them.
func (m *Mirror) Patch(f func(files map[string][]byte)) { m.patches = append(m.patches, f) }

// Files makes all files of the mirror, by their paths.
func (m *Mirror) Files() map[string][]byte {
	files := map[string][]byte{}
	for _, s := range m.suites {
		s.write(files)
	}
	for _, p := range m.patches {
		p(files)
	}
	return files
}

func (s *Suite) write(files map[string][]byte) {
	signed := map[string][]byte{}
	for _, d := range s.debs {
		files[s.Archive+"/"+d.PoolPath()] = d.data
	}
	archs := slices.Clone(s.Archs)
	if !s.NoAll {
		archs = append(archs, "all")
	}
	for _, arch := range archs {
		for _, form := range s.Forms {
			name := s.Component + "/binary-" + arch + "/Packages"
			if form != "none" {
				name += "." + form
			}
			signed[name] = Compress(form, []byte(s.Packages(arch)))
		}
	}
	dir := s.Archive + "/dists/" + s.Name + "/"
	for name, data := range signed {
		files[dir+name] = data
		if s.ByHash {
			files[dir+name[:strings.LastIndex(name, "/")]+"/by-hash/SHA256/"+sum(data)] = data
		}
	}
	release := s.release(signed)
	if s.Detached {
		files[dir+"Release"] = release
		files[dir+"Release.gpg"] = s.once("detached", release, DetachSign)
	} else {
		files[dir+"InRelease"] = s.once("clear", release, ClearSign)
	}
}

// once signs a text, or returns the signature that it has been given before.
func (s *Suite) once(way string, text []byte, sign func([]byte, time.Time, ...*Key) []byte) []byte {
	key := way + string(text)
	for _, k := range s.Keys {
		key += k.Fingerprint()
	}
	if s.mirror.signed[key] == nil {
		if s.mirror.signed == nil {
			s.mirror.signed = map[string][]byte{}
		}
		s.mirror.signed[key] = sign(text, s.Date, s.Keys...)
	}
	return s.mirror.signed[key]
}

// Packages is the suite's Packages file for an architecture.
func (s *Suite) Packages(arch string) string {
	var b strings.Builder
	for _, d := range s.debs {
		if d.Arch != arch && (d.Arch != "all" || s.SeparateAll) {
			continue
		}
		fmt.Fprintf(&b, "%sFilename: %s\nSize: %d\nSHA256: %s\n\n", d.Control(), d.PoolPath(), len(d.data), sum(d.data))
	}
	return b.String()
}

const releaseTime = "Mon, 02 Jan 2006 15:04:05 MST"

func (s *Suite) release(signed map[string][]byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Origin: Test\nSuite: %s\nCodename: %s\nDate: %s\n", cmp.Or(s.Suite, s.Name), s.Name, s.Date.UTC().Format(releaseTime))
	if !s.ValidUntil.IsZero() {
		fmt.Fprintf(&b, "Valid-Until: %s\n", s.ValidUntil.UTC().Format(releaseTime))
	}
	if s.ByHash {
		b.WriteString("Acquire-By-Hash: yes\n")
	}
	if !s.SeparateAll {
		b.WriteString("No-Support-for-Architecture-all: Packages\n")
	}
	fmt.Fprintf(&b, "Architectures: all %s\nComponents: %s\n%sSHA256:\n", strings.Join(s.Archs, " "), s.Component, s.Extra)
	for _, name := range slices.Sorted(maps.Keys(signed)) {
		fmt.Fprintf(&b, " %s %d %s\n", sum(signed[name]), len(signed[name]), name)
	}
	return []byte(b.String())
}

// ClearSign signs a text as InRelease files are signed.
func ClearSign(text []byte, at time.Time, keys ...*Key) []byte {
	var b bytes.Buffer
	var private []*packet.PrivateKey
	for _, k := range keys {
		private = append(private, k.entity.PrivateKey)
	}
	w, err := clearsign.EncodeMulti(&b, private, &packet.Config{Time: func() time.Time { return at }})
	must(err)
	_, err = w.Write(text)
	must(err)
	must(w.Close())
	b.WriteByte('\n')
	return b.Bytes()
}

// DetachSign makes an armored, detached signature.
func DetachSign(data []byte, at time.Time, keys ...*Key) []byte {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.SignatureType, nil)
	must(err)
	for _, k := range keys {
		must(openpgp.DetachSign(w, k.entity, bytes.NewReader(data), &packet.Config{Time: func() time.Time { return at }}))
	}
	must(w.Close())
	return b.Bytes()
}

// Write writes the mirror to a folder, which then serves as file:// URL.
func (m *Mirror) Write(t testing.TB, dir string) {
	t.Helper()
	for name, data := range m.Files() {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// Serve serves the mirror as it is now, until the test ends, and returns its
// base URL. Requests tells what it was asked for.
func (m *Mirror) Serve(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(m.Handler())
	t.Cleanup(s.Close)
	return s.URL
}

// Handler serves the mirror as it is now, with ranges.
func (m *Mirror) Handler() http.Handler {
	files := m.Files()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name := strings.TrimPrefix(req.URL.Path, "/")
		m.mu.Lock()
		m.requests = append(m.requests, name)
		m.mu.Unlock()
		data, ok := files[name]
		if !ok {
			http.NotFound(w, req)
			return
		}
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
	})
}

// Requests returns the paths that have been asked for, in order.
func (m *Mirror) Requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
