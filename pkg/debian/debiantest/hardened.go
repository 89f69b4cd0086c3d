package debiantest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// Certificate makes a self-signed certificate authority, PEM encoded.
func Certificate(commonName string) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName, Organization: []string{"Test"}},
		NotBefore: DefaultDate, NotAfter: DefaultDate.Add(10 * 365 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// AddHardened fills the suites "debian trixie", "debian trixie-updates" and
// "debian-security trixie-security" with small packages of the names, the
// dependencies and the layout of those that the hardened profile takes:
// ca-certificates and tzdata, the latter newer in trixie-updates; both depend
// on packages that the profile leaves out with !openssl and !debconf.
func (m *Mirror) AddHardened() {
	certs := []File{{Name: "/etc/"}, {Name: "/etc/ssl/"}, {Name: "/etc/ssl/certs/"}, {Name: "/usr/"}, {Name: "/usr/share/"},
		{Name: "/usr/share/ca-certificates/"}, {Name: "/usr/share/ca-certificates/mozilla/"}}
	for _, name := range []string{"Example_Root_CA", "Test_Root_(2)"} {
		certs = append(certs, File{Name: "/usr/share/ca-certificates/mozilla/" + name + ".crt", Body: string(Certificate(name))})
	}
	certs = append(certs,
		File{Name: "/usr/share/doc/"}, File{Name: "/usr/share/doc/ca-certificates/"},
		File{Name: "/usr/share/doc/ca-certificates/copyright", Body: "License: MPL-2.0\n"},
		File{Name: "/usr/share/doc/ca-certificates/README.Debian", Body: "docs\n"})
	zones := func(note string) []File {
		return []File{{Name: "/usr/"}, {Name: "/usr/share/"}, {Name: "/usr/share/zoneinfo/"}, {Name: "/usr/share/zoneinfo/Etc/"},
			{Name: "/usr/share/zoneinfo/Etc/UTC", Body: "TZif2" + note}, {Name: "/usr/share/zoneinfo/UTC", Type: '2', Link: "Etc/UTC"},
			{Name: "/usr/share/doc/"}, {Name: "/usr/share/doc/tzdata/"}, {Name: "/usr/share/doc/tzdata/copyright", Body: "License: public-domain\n"}}
	}
	tzdata := Deb{Name: "tzdata", Version: "2026a-0+deb13u1", Compression: "xz", Fields: map[string]string{"Depends": "debconf (>= 0.5) | debconf-2.0", "Priority": "required"},
		Files: zones("a"), Scripts: map[string]string{"postinst": "#!/bin/sh\n"}}
	newer := tzdata
	newer.Version, newer.Files = "2026c-0+deb13u1", zones("c")
	m.Suite("debian", "trixie").Add(
		Deb{Name: "ca-certificates", Version: "20250419", Compression: "xz", Fields: map[string]string{"Depends": "openssl (>= 1.1.1), debconf (>= 0.5) | debconf-2.0", "Priority": "standard"},
			Files: certs, Scripts: map[string]string{"postinst": "#!/bin/sh\n", "triggers": "interest update-ca-certificates\n"}},
		tzdata,
		Deb{Name: "debconf", Version: "1.5.91", Fields: map[string]string{"Provides": "debconf-2.0", "Priority": "required"}})
	for _, arch := range []string{"amd64", "arm64", "ppc64el", "s390x"} {
		m.Suite("debian", "trixie").Add(Deb{Name: "openssl", Version: "3.5.6-1", Arch: arch})
	}
	m.Suite("debian", "trixie-updates").Add(newer)
	m.Suite("debian-security", "trixie-security")
	for _, s := range []*Suite{m.Suite("debian", "trixie-updates"), m.Suite("debian-security", "trixie-security")} {
		s.ValidUntil = m.Now.Add(7 * 24 * time.Hour)
	}
}

// HardenedPackages are the profile's packages for AddHardened.
func HardenedPackages() []string {
	return []string{"ca-certificates", "tzdata", "!openssl", "!debconf"}
}

// HardenedRepositories are the profile's repositories for AddHardened.
func HardenedRepositories() []string {
	return []string{"debian trixie main", "debian trixie-updates main", "debian-security trixie-security main"}
}

// AddNewer puts a newer tzdata in the place of the one that trixie-updates has
// after AddHardened, in an index that is newer by half an hour. As in real
// archives, the older one stays in the pool for a while.
func (m *Mirror) AddNewer() {
	s := m.Suite("debian", "trixie-updates")
	old := s.debs[0]
	newer := old.Deb
	newer.Version = "2026d-0+deb13u1"
	s.debs = nil
	s.Add(newer)
	s.Date = s.Date.Add(30 * time.Minute)
	m.Patch(func(files map[string][]byte) { files[s.Archive+"/"+old.PoolPath()] = old.data })
}
