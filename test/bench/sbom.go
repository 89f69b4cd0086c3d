package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The targets of statements, and of the command that makes them.
const (
	warmStatements = 100 * time.Millisecond  // for an index of four
	coldStatements = 1500 * time.Millisecond // for each architecture
	commandSize    = 120 << 20               // bytes
	commandStart   = 60 * time.Millisecond
)

// found are the cache's records of what images have in them, and of what was
// written about it.
var found = []string{"sbom", "sbom-inventory", "module-licences", "copyright-licences"}

// statements measures what SBOMs, provenance and signatures add to a build: to
// one with nothing to do, and to one that has to look at the files and to read
// the licences. Then what the command weighs.
func (b *workbench) statements(ctx context.Context, runs int) ([]row, error) {
	fmt.Fprintln(os.Stderr, "measuring SBOMs, provenance and signatures")
	profile := filepath.Join(b.repo, profilePath)
	// One without a password: turning a password into a key is slow on purpose,
	// and takes longer than everything that is measured here.
	key, err := b.signingKey()
	if err != nil {
		return nil, err
	}
	var bare, warm, signed, cold, start []cost
	// What one run leaves to be written to the disk, the next one is not to pay for.
	rested := func(p *process) (string, cost, error) {
		syscall.Sync()
		return p.run(ctx)
	}
	for i := range runs + 1 {
		without := b.build(b.cache(), profile)
		without.argv = append(without.argv, "--bare")
		_, less, err := rested(without)
		if err != nil {
			return nil, err
		}
		_, more, err := rested(b.build(b.cache(), profile))
		if err != nil {
			return nil, err
		}
		with := b.build(b.cache(), profile)
		with.argv = append(with.argv, "--key", key)
		_, most, err := rested(with)
		if err != nil {
			return nil, err
		}
		for _, kind := range found {
			if err := os.RemoveAll(filepath.Join(b.cache(), "records", kind)); err != nil {
				return nil, err
			}
		}
		_, again, err := rested(b.build(b.cache(), profile))
		if err != nil {
			return nil, err
		}
		_, version, err := (&process{argv: []string{b.etcdimg, "version"}}).run(ctx)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			bare, warm, signed, cold, start = append(bare, less), append(warm, more), append(signed, most), append(cold, again), append(start, version)
		}
	}
	added := median(warm).wall - median(bare).wall
	all := median(signed).wall - median(bare).wall
	each := (median(cold).wall - median(bare).wall) / time.Duration(len(b.profile.Archs))
	info, err := os.Stat(b.etcdimg)
	if err != nil {
		return nil, err
	}
	began := median(start).wall
	audited, err := b.audit(ctx, runs)
	if err != nil {
		return nil, err
	}
	return append([]row{
		{"SBOMs and provenance add to a warm build", seconds(added), "", true},
		{"… with signatures", seconds(all), "at most " + seconds(warmStatements), all <= warmStatements},
		{"… to a cold one, for each architecture", seconds(each), "at most " + seconds(coldStatements), each <= coldStatements},
		{"the size of etcdimg", fmt.Sprintf("%.1f MiB", mebibytes(info.Size())), fmt.Sprintf("at most %.0f MiB", mebibytes(commandSize)), info.Size() <= commandSize},
		{"etcdimg version", seconds(began), "at most " + seconds(commandStart), began <= commandStart},
	}, audited...), nil
}

// signingKey writes a private key (PKCS #8) for signing, and returns its path.
func (b *workbench) signingKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.root, "signing.key")
	return path, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
