package sign_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// keyOf is a signer's key as sigstore's own verifier takes it.
func keyOf(t *testing.T, pem []byte) (root.TrustedMaterial, signature.Verifier) {
	t.Helper()
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	v, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(v, time.Time{}, time.Time{}), nil
	}), v
}

// A signature over bytes holds, bare and in a bundle, for those bytes alone.
func TestBlobsAreSigned(t *testing.T) {
	keys, err := sign.GenerateKeys([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := sign.LoadKey(keys.Private, func() ([]byte, error) { return []byte("secret"), nil })
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("0123  etcdimg-linux-amd64\n")
	made, err := signer.SignBlob(t.Context(), content)
	if err != nil {
		t.Fatal(err)
	}
	material, verifier := keyOf(t, keys.Public)
	raw, err := base64.StdEncoding.DecodeString(string(made.Signature))
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.VerifySignature(bytes.NewReader(raw), bytes.NewReader(content)); err != nil {
		t.Errorf("the bare signature: %v", err)
	}
	if made.Certificate != nil {
		t.Errorf("a bare key has the certificate %s", made.Certificate)
	}
	check, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		content string
		holds   bool
	}{{string(content), true}, {"4567  etcdimg-linux-amd64\n", false}} {
		b := &bundle.Bundle{}
		if err := b.UnmarshalJSON(made.Bundle); err != nil {
			t.Fatal(err)
		}
		_, err := check.Verify(b, verify.NewPolicy(verify.WithArtifact(strings.NewReader(tt.content)), verify.WithKey()))
		if (err == nil) != tt.holds {
			t.Errorf("the bundle, for %q: %v", tt.content, err)
		}
	}
}

// A statement about files, in a bundle, holds for those files.
func TestBlobsAreAttested(t *testing.T) {
	keys, err := sign.GenerateKeys(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := sign.LoadKey(keys.Private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("binary"))
	made, err := signer.AttestBlobs(t.Context(), []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"etcdimg","digest":{"sha256":"`+
		hex.EncodeToString(sum[:])+`"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	material, _ := keyOf(t, keys.Public)
	check, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	for content, holds := range map[string]bool{"binary": true, "another": false} {
		b := &bundle.Bundle{}
		if err := b.UnmarshalJSON(made); err != nil {
			t.Fatal(err)
		}
		_, err := check.Verify(b, verify.NewPolicy(verify.WithArtifact(strings.NewReader(content)), verify.WithKey()))
		if (err == nil) != holds {
			t.Errorf("%s: %v", content, err)
		}
	}
	if _, err := signer.AttestBlobs(t.Context(), []byte("nothing")); err == nil {
		t.Error("what is no JSON was attested")
	}
}
