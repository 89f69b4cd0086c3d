package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// KeyPair is a pair of PEM files.
type KeyPair struct {
	Private []byte // encrypted, as cosign writes it: ENCRYPTED SIGSTORE PRIVATE KEY
	Public  []byte // PUBLIC KEY (RFC 5280, SubjectPublicKeyInfo)
}

// GenerateKeys makes an ECDSA key on P-256. The private half is encrypted with
// the password, which may be empty.
func GenerateKeys(password []byte) (KeyPair, error) {
	k, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return KeyPair{}, fmt.Errorf("making a key: %w", err)
	}
	return KeyPair{Private: k.PrivateBytes, Public: k.PublicBytes}, nil
}

// maxKey bounds a key file, in bytes.
const maxKey = 1 << 20

// LoadKey reads a private key: cosign's encrypted form, for which it asks for
// the password, or one that is not encrypted (PKCS #8, PKCS #1, SEC 1).
func LoadKey(file []byte, password func() ([]byte, error)) (*Signer, error) {
	block, _ := pem.Decode(file)
	switch {
	case len(file) > maxKey:
		return nil, fmt.Errorf("the file is larger than %d bytes: no key is", maxKey)
	case block == nil:
		return nil, fmt.Errorf("the file holds no PEM block: a private key begins with -----BEGIN")
	}
	var key crypto.PrivateKey
	var err error
	switch block.Type {
	case cosign.CosignPrivateKeyPemType, cosign.SigstorePrivateKeyPemType:
		secret, err := password()
		if err != nil {
			return nil, err
		}
		der, err := encrypted.Decrypt(block.Bytes, secret)
		if err != nil {
			return nil, fmt.Errorf("the password does not open the key: %w", err)
		}
		key, err = x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, err
		}
	case cosign.PrivateKeyPemType:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case cosign.ECPrivateKeyPemType:
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case cosign.RSAPrivateKeyPemType:
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PUBLIC KEY":
		return nil, fmt.Errorf("the file holds a public key: signing needs the private one")
	case "ENCRYPTED PRIVATE KEY":
		return nil, fmt.Errorf("keys that PKCS #8 itself encrypts are not read: turn it into cosign's form with cosign import-key-pair")
	default:
		return nil, fmt.Errorf("the file holds a %s: want a private key in cosign's form or in PKCS #8", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", block.Type, err)
	}
	sv, err := signature.LoadDefaultSignerVerifier(key, *cosign.GetDefaultLoadOptions(nil)...)
	if err != nil {
		return nil, fmt.Errorf("this kind of key can not sign images: %w", err)
	}
	return &Signer{key: sv}, nil
}

// PublicKey is a key that signatures are held against.
type PublicKey struct {
	Name     string // for people: where it came from
	ID       string // "SHA256:<hex>" of the key in SubjectPublicKeyInfo form
	verifier signature.Verifier
}

// LoadPublicKey reads a public key from a PEM file.
func LoadPublicKey(name string, file []byte) (PublicKey, error) {
	if len(file) > maxKey {
		return PublicKey{}, fmt.Errorf("%s is larger than %d bytes: no key is", name, maxKey)
	}
	if b, _ := pem.Decode(bytes.TrimSpace(file)); b == nil || b.Type != "PUBLIC KEY" {
		return PublicKey{}, fmt.Errorf("%s holds no public key in PEM form", name)
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(file)
	if err != nil {
		return PublicKey{}, fmt.Errorf("reading the public key %s: %w", name, err)
	}
	k, err := publicKey(pub)
	if err != nil {
		return PublicKey{}, fmt.Errorf("reading the public key %s: %w", name, err)
	}
	k.Name = name
	return k, nil
}

// Verify tells whether the key has made a signature over the SHA-256 of bytes
// that are no image, as SignBlob makes it. The signature is raw, not base 64.
func (k PublicKey) Verify(content, sig []byte) error {
	if err := k.verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(content)); err != nil {
		return fmt.Errorf("the key %s has not made it: %w", k.Name, err)
	}
	return nil
}

func publicKey(pub crypto.PublicKey) (PublicKey, error) {
	id, err := keyID(pub)
	if err != nil {
		return PublicKey{}, err
	}
	v, err := signature.LoadDefaultVerifier(pub, *cosign.GetDefaultLoadOptions(nil)...)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{ID: id, verifier: v}, nil
}

func keyID(pub crypto.PublicKey) (string, error) {
	switch pub.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey, *rsa.PublicKey:
	default:
		return "", fmt.Errorf("a key of type %T signs no images: want ECDSA, Ed25519 or RSA", pub)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + hex.EncodeToString(sum[:]), nil
}
