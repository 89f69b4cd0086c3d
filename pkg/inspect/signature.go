package inspect

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/image"
)

// Signature is a signature, or a signed statement, that was found. Whether it
// is good is another question.
type Signature struct {
	Subject       string `json:"subject"`
	Digest        string `json:"digest"`                  // of the manifest that holds it
	Form          string `json:"form"`                    // .sig, .att, referrer or bundle
	PredicateType string `json:"predicateType,omitempty"` // of a signed statement
	Identity      string `json:"identity,omitempty"`      // of the certificate, where there is one
	Issuer        string `json:"issuer,omitempty"`        // who vouched for the identity
}

// What cosign and sigstore call things.
const (
	predicateAnnotation       = image.AnnotationPredicateType
	cosignPredicateAnnotation = "predicateType"
	bundleAnnotation          = "dev.sigstore.bundle.predicateType"
	bareSignature             = "https://sigstore.dev/cosign/sign/v1" // says no more than that the image is signed
	certificateAnnotation     = "dev.sigstore.cosign/certificate"
	bundlePrefix              = "application/vnd.dev.sigstore.bundle"
	cosignSignature           = "application/vnd.dev.cosign.artifact.sig.v1+json"
	dssePayload               = "application/vnd.dsse.envelope.v1+json"
)

func isSignature(d v1.Descriptor) bool {
	return strings.HasPrefix(d.ArtifactType, bundlePrefix) || d.ArtifactType == cosignSignature || d.ArtifactType == dssePayload
}

func formOf(d v1.Descriptor) string {
	if strings.HasPrefix(d.ArtifactType, bundlePrefix) {
		return "bundle"
	}
	return "referrer"
}

// readSignatures reads the manifest that holds signatures: each of its layers
// is one.
func readSignatures(ctx context.Context, s Source, subject, digest v1.Hash, form string) ([]Signature, error) {
	raw, err := s.Manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("signatures %s: %w", digest, err)
	}
	var found []Signature
	for _, l := range m.Layers {
		sig := Signature{Subject: subject.String(), Digest: digest.String(), Form: form}
		sig.PredicateType = l.Annotations[cosignPredicateAnnotation]
		if form == "bundle" {
			if said := m.Annotations[bundleAnnotation]; said != bareSignature {
				sig.PredicateType = said
			}
			b, err := s.Blob(ctx, l.Digest)
			if err != nil {
				return nil, err
			}
			sig.Identity, sig.Issuer = bundleIdentity(b)
		} else {
			sig.Identity, sig.Issuer = certificateIdentity([]byte(l.Annotations[certificateAnnotation]))
		}
		found = append(found, sig)
	}
	return found, nil
}

// bundleIdentity is whom the certificate of a sigstore bundle names.
func bundleIdentity(b []byte) (identity, issuer string) {
	var bundle struct {
		VerificationMaterial struct {
			Certificate struct {
				RawBytes string `json:"rawBytes"`
			} `json:"certificate"`
			Chain struct {
				Certificates []struct {
					RawBytes string `json:"rawBytes"`
				} `json:"certificates"`
			} `json:"x509CertificateChain"`
		} `json:"verificationMaterial"`
	}
	if json.Unmarshal(b, &bundle) != nil {
		return "", ""
	}
	encoded := bundle.VerificationMaterial.Certificate.RawBytes
	if chain := bundle.VerificationMaterial.Chain.Certificates; encoded == "" && len(chain) > 0 {
		encoded = chain[0].RawBytes
	}
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", ""
	}
	return identityOf(der)
}

func certificateIdentity(certificate []byte) (identity, issuer string) {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return "", ""
	}
	return identityOf(block.Bytes)
}

// Fulcio's extensions that name the issuer of the OIDC token: the second as a
// string of ASN.1, the first as bare bytes.
var (
	issuerBare    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
	issuerEncoded = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
)

func identityOf(der []byte) (identity, issuer string) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return "", ""
	}
	for _, e := range c.Extensions {
		switch {
		case e.Id.Equal(issuerEncoded):
			var s string
			if _, err := asn1.Unmarshal(e.Value, &s); err == nil {
				issuer = s
			}
		case e.Id.Equal(issuerBare) && issuer == "":
			issuer = string(e.Value)
		}
	}
	switch {
	case len(c.EmailAddresses) > 0:
		identity = c.EmailAddresses[0]
	case len(c.URIs) > 0:
		identity = c.URIs[0].String()
	case len(c.DNSNames) > 0:
		identity = c.DNSNames[0]
	}
	return identity, issuer
}
