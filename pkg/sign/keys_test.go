package sign_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

func TestKeysOfEveryKindSign(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(k crypto.Signer) []byte { private, _ := pemOf(t, k); return private }
	for name, tt := range map[string]struct {
		private []byte
		key     crypto.Signer
	}{
		"ECDSA":   {pkcs8(ec), ec},
		"SEC 1":   {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ec},
		"RSA":     {pkcs8(r), r},
		"PKCS #1": {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(r)}), r},
		"Ed25519": {pkcs8(ed), ed},
	} {
		t.Run(name, func(t *testing.T) {
			b := inRegistry(t)
			if b.signer, err = sign.LoadKey(tt.private, nil); err != nil {
				t.Fatal(err)
			}
			_, public := pemOf(t, tt.key)
			k, err := sign.LoadPublicKey("k", public)
			if err != nil {
				t.Fatal(err)
			}
			b.trust = sign.Trust{Keys: []sign.PublicKey{k}}
			b.sign(sign.Tags, sbom)
			for _, c := range b.verify() {
				if len(c.Failures) > 0 || len(c.Attestations) != 1 {
					t.Errorf("%v %v", c.Failures, c.Others)
				}
			}
		})
	}
}

func TestGeneratedKeysOpenWithTheirPassword(t *testing.T) {
	pair, err := sign.GenerateKeys([]byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(pair.Private), "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n") {
		t.Errorf("the private key begins %.60q", pair.Private)
	}
	s, err := sign.LoadKey(pair.Private, func() ([]byte, error) { return []byte("right"), nil })
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := s.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := sign.LoadPublicKey("k", pair.Public)
	if err != nil || ours.ID != theirs.ID {
		t.Errorf("the halves do not belong together: %s, %s, %v", ours.ID, theirs.ID, err)
	}
	_, err = sign.LoadKey(pair.Private, func() ([]byte, error) { return []byte("wrong"), nil })
	if err == nil || !strings.Contains(err.Error(), "the password does not open the key") {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestWhatIsNoKeyIsRefused(t *testing.T) {
	block := func(name string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: name, Bytes: []byte("x")}))
	}
	for file, want := range map[string]string{
		"":                             "the file holds no PEM block",
		block("PUBLIC KEY"):            "the file holds a public key",
		block("CERTIFICATE"):           "the file holds a CERTIFICATE: want a private key",
		block("PRIVATE KEY"):           "reading the PRIVATE KEY: ",
		block("ENCRYPTED PRIVATE KEY"): "cosign import-key-pair",
		strings.Repeat("x", 2<<20):     "larger than 1048576 bytes",
	} {
		if _, err := sign.LoadKey([]byte(file), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", file, err, want)
		}
		if _, err := sign.LoadPublicKey("k", []byte(file)); err == nil {
			t.Errorf("%.40q is a public key", file)
		}
	}
}

// Keys, and bundles and envelopes of strangers, are foreign bytes.
func FuzzLoadKeys(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := sign.LoadKey(b, func() ([]byte, error) { return nil, nil }); err == nil {
			if _, err := s.PublicKey(); err != nil {
				t.Errorf("a key without a public half: %v", err)
			}
		}
		_, _ = sign.LoadPublicKey("k", b)
	})
}
