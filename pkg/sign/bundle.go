package sign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	cbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"
)

// Annotations of a bundle's manifest, which cosign reads. It stamps the clock
// too; here nothing does.
const (
	bundleContent       = "dev.sigstore.bundle.content"
	bundlePredicateType = "dev.sigstore.bundle.predicateType"
)

// bundle writes a statement as a sigstore bundle. It keeps the one that is
// there already with the same statement by the same key.
func (s *Signer) bundle(ctx context.Context, p Place, subject v1.Descriptor, st Statement) (kept bool, err error) {
	body, err := st.marshal(subject)
	if err != nil {
		return false, err
	}
	if s.cert == nil {
		there, err := s.hasBundle(ctx, p, subject, st.PredicateType, body)
		if err != nil || there {
			return there, err
		}
	}
	raw, err := s.makeBundle(ctx, body)
	if err != nil {
		return false, err
	}
	return false, putArtifact(ctx, p, subject, artifactBundle, map[string]string{
		bundleContent:       "dsse-envelope",
		bundlePredicateType: st.PredicateType,
	}, layer{bytes: raw, desc: v1.Descriptor{MediaType: mediaBundle}})
}

func (s *Signer) hasBundle(ctx context.Context, p Place, subject v1.Descriptor, predicateType string, body []byte) (bool, error) {
	pub, err := s.PublicKey()
	if err != nil {
		return false, err
	}
	all, err := artifacts(ctx, p, subject.Digest, artifactBundle, maxAttestation)
	if err != nil {
		return false, err
	}
	for _, l := range all {
		b, err := parseBundle(l.bytes)
		if err != nil || !bytes.Equal(b.GetDsseEnvelope().GetPayload(), body) {
			continue
		}
		env, err := bundleEnvelope(b)
		if err != nil {
			continue
		}
		if _, err := openEnvelope(ctx, pub.verifier, env); err == nil {
			return true, nil
		}
	}
	return false, nil
}

func parseBundle(raw []byte) (*protobundle.Bundle, error) {
	b := &protobundle.Bundle{}
	return b, protojson.Unmarshal(raw, b)
}

// makeBundle signs a statement, and puts it into a bundle with what vouches
// for the signature.
func (s *Signer) makeBundle(ctx context.Context, body []byte) ([]byte, error) {
	env, signed, err := s.seal(ctx, body)
	if err != nil {
		return nil, err
	}
	pr, err := s.proof(ctx, signed, logEntry{envelope: env, bundled: true})
	if err != nil {
		return nil, err
	}
	pub, err := s.key.PublicKey()
	if err != nil {
		return nil, err
	}
	signer, err := s.signerPEM()
	if err != nil {
		return nil, err
	}
	raw, err := cbundle.MakeNewBundle(pub, pr.entry, body, env, signer, pr.timestamp)
	if err != nil {
		return nil, err
	}
	if s.bundleLog != nil {
		if raw, err = s.logBundle(ctx, raw, signer); err != nil {
			return nil, fmt.Errorf("writing to the transparency log: %w", err)
		}
	}
	return canonical(raw)
}

// logBundle writes a bundle to a log, and what the log answers into the bundle.
func (s *Signer) logBundle(ctx context.Context, raw, signer []byte) ([]byte, error) {
	b, err := parseBundle(raw)
	if err != nil {
		return nil, err
	}
	if err := s.bundleLog.GetTransparencyLogEntry(ctx, signer, b); err != nil {
		return nil, err
	}
	return protojson.Marshal(b)
}

// canonical takes out the spaces that protojson strews in at random.
func canonical(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// bundleEnvelope is a bundle's envelope in DSSE's own JSON.
func bundleEnvelope(b *protobundle.Bundle) ([]byte, error) {
	e := b.GetDsseEnvelope()
	if e == nil || len(e.GetSignatures()) == 0 {
		return nil, errors.New("the bundle holds no signed envelope")
	}
	env := dsse.Envelope{PayloadType: e.GetPayloadType(), Payload: base64.StdEncoding.EncodeToString(e.GetPayload())}
	for _, s := range e.GetSignatures() {
		env.Signatures = append(env.Signatures, dsse.Signature{KeyID: s.GetKeyid(), Sig: base64.StdEncoding.EncodeToString(s.GetSig())})
	}
	return json.Marshal(env)
}

// bundles looks at sigstore's bundles.
func (v *verifier) bundles(ctx context.Context, p Place, c *Checked) error {
	all, err := artifacts(ctx, p, c.Subject.Digest, artifactBundle, maxAttestation)
	if err != nil {
		return err
	}
	for _, l := range all {
		b, err := parseBundle(l.bytes)
		if err != nil {
			c.Others = append(c.Others, "a bundle that can not be read: "+err.Error())
			continue
		}
		body, by, err := v.bundledBy(ctx, b)
		if err != nil {
			c.Others = append(c.Others, "a bundle that does not count: "+err.Error())
			continue
		}
		c.statement(body, by, Bundles, "")
	}
	return nil
}

// bundledBy tells whose signature a bundle carries, of those who count, and
// over what.
func (v *verifier) bundledBy(ctx context.Context, b *protobundle.Bundle) ([]byte, string, error) {
	env, err := bundleEnvelope(b)
	if err != nil {
		return nil, "", err
	}
	var reasons []string
	for _, k := range v.trust.Keys {
		if body, err := openEnvelope(ctx, k.verifier, env); err == nil {
			return body, k.Name, nil
		}
		reasons = append(reasons, "the key "+k.Name+" did not make it over these bytes")
	}
	if v.certs == nil {
		return nil, "", errors.New(strings.Join(reasons, ", "))
	}
	by, err := v.bundledUnder(b)
	if err != nil {
		return nil, "", errors.New(strings.Join(append(reasons, err.Error()), ", "))
	}
	return b.GetDsseEnvelope().GetPayload(), by, nil
}

// bundledUnder tells for whom the certificate is under which a bundle was
// signed, if that is somebody who counts. What was signed is not looked at
// here.
func (v *verifier) bundledUnder(b *protobundle.Bundle) (string, error) {
	signed, err := bundle.NewBundle(b)
	if err != nil {
		return "", err
	}
	content, err := signed.VerificationContent()
	if err != nil {
		return "", err
	}
	if content.Certificate() == nil {
		return "", errors.New("it has no certificate")
	}
	who := holder(content.Certificate())
	material, err := v.trust.Authorities.material()
	if err != nil {
		return "", err
	}
	var options []verify.VerifierOption
	stamped, logged := len(material.TimestampingAuthorities()) > 0, len(material.RekorLogs()) > 0
	if stamped {
		options = append(options, verify.WithSignedTimestamps(1))
	}
	if logged {
		options = append(options, verify.WithTransparencyLog(1))
		if !stamped {
			options = append(options, verify.WithIntegratedTimestamps(1))
		}
	}
	if !stamped && !logged {
		if end := content.Certificate().NotAfter; time.Now().After(end) {
			return "", fmt.Errorf("its certificate is for %s: it expired at %s, and nothing shows that the signature is older", who, end.UTC().Format(time.RFC3339))
		}
		options = append(options, verify.WithCurrentTime())
	}
	if len(material.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	check, err := verify.NewVerifier(material, options...)
	if err != nil {
		return "", err
	}
	var reasons []string
	for _, i := range v.trust.Identities {
		if i.Subject == "" && i.SubjectRegexp == "" {
			i.SubjectRegexp = ".*"
		}
		if i.Issuer == "" && i.IssuerRegexp == "" {
			i.IssuerRegexp = ".*"
		}
		san, err := verify.NewSANMatcher(i.Subject, i.SubjectRegexp)
		if err != nil {
			return "", err
		}
		issuer, err := verify.NewIssuerMatcher(i.Issuer, i.IssuerRegexp)
		if err != nil {
			return "", err
		}
		identity, err := verify.NewCertificateIdentity(san, issuer, certificate.Extensions{})
		if err != nil {
			return "", err
		}
		_, err = check.Verify(signed, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithCertificateIdentity(identity)))
		if err == nil {
			return who, nil
		}
		reasons = append(reasons, err.Error())
	}
	return "", errors.New("its certificate is for " + who + ": " + strings.Join(reasons, "; "))
}
