package sign

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// Checked is what was found about one digest.
type Checked struct {
	Subject      v1.Descriptor
	Signatures   []Signature   // that count
	Attestations []Attestation // that count, and are about the digest
	Failures     []*Failure
	Others       []string // signatures and attestations that do not count, and why, for people
}

// Signature is a signature that counts.
type Signature struct {
	By     string `json:"by"`
	Format Format `json:"format"`
}

// Attestation is a statement by somebody who counts.
type Attestation struct {
	By            string          `json:"by"`
	Format        Format          `json:"format"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"-"`
}

// Verify holds what is said about each of the digests against whose word
// counts. Every digest needs a signature that counts; whatever is attested by
// somebody who counts must be about the digest. An error means that something
// could not be found out; what was found wrong is among the failures.
func Verify(ctx context.Context, p Place, subjects []v1.Descriptor, t Trust) ([]Checked, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	v, err := newVerifier(t)
	if err != nil {
		return nil, err
	}
	var all []Checked
	for _, s := range subjects {
		c := Checked{Subject: s}
		for _, look := range []func(context.Context, Place, *Checked) error{v.subject, v.tags, v.artifacts, v.bundles} {
			if err := c.note(look(ctx, p, &c)); err != nil {
				return nil, fmt.Errorf("verifying %s: %w", s.Digest, err)
			}
		}
		if len(c.Signatures) == 0 {
			found := "no signature"
			if len(c.Others) > 0 {
				found = strings.Join(c.Others, "; ")
			}
			c.Failures = append(c.Failures, &Failure{Check: "signature", Digest: s.Digest.String(), Expected: "one by " + t.expected(), Found: found})
		}
		all = append(all, c)
	}
	return all, nil
}

// note keeps a failed check, and passes on other errors.
func (c *Checked) note(err error) error {
	var f *Failure
	if errors.As(err, &f) {
		c.Failures = append(c.Failures, f)
		return nil
	}
	return err
}

type verifier struct {
	trust Trust
	certs *cosign.CheckOpts // nil without identities
}

func newVerifier(t Trust) (*verifier, error) {
	v := &verifier{trust: t}
	if len(t.Identities) == 0 {
		return v, nil
	}
	o, err := t.Authorities.options()
	if err != nil {
		return nil, err
	}
	for _, i := range t.Identities {
		o.Identities = append(o.Identities, cosign.Identity{
			Issuer: i.Issuer, IssuerRegExp: i.IssuerRegexp, Subject: i.Subject, SubjectRegExp: i.SubjectRegexp,
		})
	}
	v.certs = &o
	return v, nil
}

// subject reads what the digest names: it must be there, whole, and have the
// digest.
func (v *verifier) subject(ctx context.Context, p Place, c *Checked) error {
	_, err := read(ctx, p, c.Subject, maxManifest)
	return err
}

// tags looks at cosign's tags.
func (v *verifier) tags(ctx context.Context, p Place, c *Checked) error {
	for _, k := range []struct {
		tag   string
		limit int64
		check func(context.Context, *Checked, layer, Format)
	}{
		{signatureTag(c.Subject.Digest), maxPayload, v.signature},
		{attestationTag(c.Subject.Digest), maxAttestation, v.attestation},
	} {
		d, err := p.Resolve(ctx, k.tag)
		if errors.Is(err, ErrNotThere) {
			continue
		}
		if err != nil {
			return err
		}
		layers, err := readLayers(ctx, p, d, k.limit)
		if err := c.note(err); err != nil {
			return err
		}
		for _, l := range layers {
			k.check(ctx, c, l, Tags)
		}
	}
	return nil
}

// artifacts looks at signatures and attestations that are referrers.
func (v *verifier) artifacts(ctx context.Context, p Place, c *Checked) error {
	for _, k := range []struct {
		artifactType string
		limit        int64
		check        func(context.Context, *Checked, layer, Format)
	}{
		{artifactSignature, maxPayload, v.signature},
		{artifactAttestation, maxAttestation, v.attestation},
	} {
		layers, err := artifacts(ctx, p, c.Subject.Digest, k.artifactType, k.limit)
		if err := c.note(err); err != nil {
			return err
		}
		for _, l := range layers {
			k.check(ctx, c, l, Referrers)
		}
	}
	return nil
}

// signature holds one signature against everybody who counts.
func (v *verifier) signature(ctx context.Context, c *Checked, l layer, f Format) {
	by, err := v.by(ctx, l, false)
	if err != nil {
		c.Others = append(c.Others, "a signature that does not count: "+err.Error())
		return
	}
	var claim payload.SimpleContainerImage
	if err := json.Unmarshal(l.bytes, &claim); err != nil {
		c.failed("signed payload", "cosign's simple signing payload", err.Error())
		return
	}
	if claim.Critical.Type != payload.CosignSignatureType {
		c.failed("signed payload", payload.CosignSignatureType, fmt.Sprintf("%q", claim.Critical.Type))
		return
	}
	if got := claim.Critical.Image.DockerManifestDigest; got != c.Subject.Digest.String() {
		c.failed("signed digest", c.Subject.Digest.String(), got+", signed by "+by)
		return
	}
	c.Signatures = append(c.Signatures, Signature{By: by, Format: f})
}

// attestation holds one envelope against everybody who counts.
func (v *verifier) attestation(ctx context.Context, c *Checked, l layer, f Format) {
	by, err := v.by(ctx, l, true)
	if err != nil {
		c.Others = append(c.Others, "an attestation that does not count: "+err.Error())
		return
	}
	c.statement(envelopePayload(l.bytes), by, f, l.desc.Annotations["predicateType"])
}

// statement takes in a statement that somebody who counts has signed. said is
// its predicate type as its surroundings have it, "" if they say nothing.
func (c *Checked) statement(body []byte, by string, f Format, said string) {
	var st statement
	if err := json.Unmarshal(body, &st); err != nil {
		c.failed("statement", "an in-toto statement", err.Error())
		return
	}
	switch {
	case st.Type != statementV1 && st.Type != statementV01:
		c.failed("statement", statementV1, fmt.Sprintf("%q", st.Type))
	case !st.about(c.Subject.Digest):
		c.failed("subject", c.Subject.Digest.String(), st.subjects()+", in "+st.PredicateType+" by "+by)
	case said != "" && said != st.PredicateType:
		c.failed("predicate type", said, st.PredicateType)
	case st.PredicateType == predicateSignature:
		c.Signatures = append(c.Signatures, Signature{By: by, Format: f})
	default:
		c.Attestations = append(c.Attestations, Attestation{By: by, Format: f, PredicateType: st.PredicateType, Predicate: st.Predicate})
	}
}

func (c *Checked) failed(check, expected, found string) {
	c.Failures = append(c.Failures, &Failure{Check: check, Digest: c.Subject.Digest.String(), Expected: expected, Found: found})
}

// by tells whose signature a layer carries, of those who count. What was
// signed is not looked at here.
func (v *verifier) by(ctx context.Context, l layer, envelope bool) (string, error) {
	var reasons []string
	bare := layer{bytes: l.bytes, desc: v1.Descriptor{MediaType: l.desc.MediaType, Annotations: map[string]string{
		static.SignatureAnnotationKey: l.desc.Annotations[static.SignatureAnnotationKey],
	}}}
	for _, k := range v.trust.Keys {
		// A certificate beside it says nothing about a key that is given.
		err := check(ctx, bare, envelope, &cosign.CheckOpts{SigVerifier: k.verifier, IgnoreTlog: true, Offline: true})
		if err == nil {
			return k.Name, nil
		}
		reasons = append(reasons, "the key "+k.Name+" did not make it over these bytes")
	}
	if v.certs == nil {
		return "", errors.New(strings.Join(reasons, ", "))
	}
	cert, err := l.oci().Cert()
	switch {
	case err != nil:
		reasons = append(reasons, "its certificate can not be read: "+err.Error())
	case cert == nil:
		reasons = append(reasons, "it has no certificate")
	default:
		err := check(ctx, l, envelope, v.certs)
		if err == nil {
			return holder(cert), nil
		}
		reasons = append(reasons, "its certificate is for "+holder(cert)+": "+err.Error())
	}
	return "", errors.New(strings.Join(reasons, ", "))
}

// check asks cosign. The digest that was signed is held against the subject by
// the caller, who can tell what it found.
func check(ctx context.Context, l layer, envelope bool, o *cosign.CheckOpts) error {
	o2 := *o // cosign's functions fill in what is missing
	var err error
	if envelope {
		_, err = cosign.VerifyBlobAttestation(ctx, l.oci(), v1.Hash{}, &o2)
	} else {
		_, err = cosign.VerifyBlobSignature(ctx, l.oci(), &o2)
	}
	return err
}

// holder is whom a certificate is for, and who says so.
func holder(cert *x509.Certificate) string {
	ext := cosign.CertExtensions{Cert: cert}
	return strings.Join(cryptoutils.GetSubjectAlternateNames(cert), ", ") + " as " + ext.GetIssuer() + " has it"
}
