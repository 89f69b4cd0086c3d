package sign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"

	cbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"google.golang.org/protobuf/encoding/protojson"
)

// BlobSignature is a signature over bytes that are no image, in the forms in
// which cosign verify-blob takes it.
type BlobSignature struct {
	Signature   []byte // base 64: --signature
	Certificate []byte // PEM: --certificate; nil for a bare key
	Bundle      []byte // sigstore's bundle v0.3, with a message signature: --bundle with --new-bundle-format
}

// SignBlob signs bytes as cosign sign-blob does: over their SHA-256.
func (s *Signer) SignBlob(ctx context.Context, content []byte) (BlobSignature, error) {
	raw, err := s.key.SignMessage(bytes.NewReader(content), options.WithContext(ctx))
	if err != nil {
		return BlobSignature{}, fmt.Errorf("signing: %w", err)
	}
	pr, err := s.proof(ctx, raw, logEntry{signature: raw, payload: content})
	if err != nil {
		return BlobSignature{}, fmt.Errorf("signing: %w", err)
	}
	hint, cert, err := s.bundledSigner()
	if err != nil {
		return BlobSignature{}, err
	}
	b, err := cbundle.MakeProtobufBundle(hint, cert, pr.entry, pr.timestamp)
	if err != nil {
		return BlobSignature{}, fmt.Errorf("bundling a signature: %w", err)
	}
	sum := sha256.Sum256(content)
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
		Signature:     raw,
	}}
	bundled, err := protojson.Marshal(b)
	if err != nil {
		return BlobSignature{}, fmt.Errorf("bundling a signature: %w", err)
	}
	bundled, err = canonical(bundled)
	return BlobSignature{Signature: []byte(base64.StdEncoding.EncodeToString(raw)), Certificate: s.cert, Bundle: bundled}, err
}

// AttestBlobs signs an in-toto statement about files, and returns it as a
// sigstore bundle v0.3, which cosign verify-blob-attestation takes with
// --bundle and --new-bundle-format.
func (s *Signer) AttestBlobs(ctx context.Context, statement []byte) ([]byte, error) {
	if !json.Valid(statement) {
		return nil, fmt.Errorf("attesting: the statement is no JSON")
	}
	b, err := s.makeBundle(ctx, statement)
	if err != nil {
		return nil, fmt.Errorf("attesting: %w", err)
	}
	return b, nil
}

// bundledSigner is what a bundle says of the signer: the digest of a bare key,
// or a certificate (DER).
func (s *Signer) bundledSigner() (hint string, cert []byte, err error) {
	if s.cert != nil {
		certs, err := cryptoutils.UnmarshalCertificatesFromPEM(s.cert)
		if err != nil {
			return "", nil, err
		}
		return "", certs[0].Raw, nil
	}
	pub, err := s.key.PublicKey()
	if err != nil {
		return "", nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:]), nil, nil
}
