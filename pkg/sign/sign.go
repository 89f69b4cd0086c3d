package sign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/rekor/pkg/generated/models"
	sgsign "github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// Format is the form in which signatures and attestations lie beside an image.
type Format string

// The forms.
const (
	Tags      Format = "tag"      // sha256-<hex>.sig and .att
	Referrers Format = "referrer" // cosign's artifacts, with the image as their subject (OCI 1.1)
	Bundles   Format = "bundle"   // sigstore's bundles, with the image as their subject
)

// Formats lists the forms, the usual one first.
func Formats() []Format { return []Format{Tags, Referrers, Bundles} }

// Signer signs with one key, or with one certificate that an authority gave
// out for it.
type Signer struct {
	key   signature.SignerVerifier
	cert  []byte // PEM; nil for a bare key
	chain []byte // PEM, from the issuer to the root

	stamp func(ctx context.Context, signed []byte) ([]byte, error)            // RFC 3161; nil for none
	log   func(ctx context.Context, e logEntry) (*models.LogEntryAnon, error) // nil for none

	// bundleLog adds an entry of a log of Rekor's API version 2 to a bundle. No
	// other form has a place for what such a log answers.
	bundleLog sgsign.Transparency // nil for none
}

// Writes says whether the signer can write a form.
func (s *Signer) Writes(f Format) error {
	if s.bundleLog != nil && f != Bundles {
		return fmt.Errorf("entries of a transparency log of API version 2 go into bundles only, not into the form %s", f)
	}
	return nil
}

// logEntry is what a transparency log is told.
type logEntry struct {
	signature []byte // of a payload; nil for an envelope
	payload   []byte
	envelope  []byte
	bundled   bool   // the envelope goes into a bundle
	signer    []byte // PEM: certificate or public key
}

// PublicKey is the key that signatures of this signer are held against.
func (s *Signer) PublicKey() (PublicKey, error) {
	pub, err := s.key.PublicKey()
	if err != nil {
		return PublicKey{}, err
	}
	return publicKey(pub)
}

// Statement is an in-toto statement that is about one digest.
type Statement struct {
	PredicateType string          // URI
	Predicate     json.RawMessage // its JSON
	Whole         []byte          // the statement itself, where it is there already
}

// Made is what a signing wrote.
type Made struct {
	Digest        string `json:"digest"`                  // of the subject
	Kind          string `json:"kind"`                    // signature or attestation
	PredicateType string `json:"predicateType,omitempty"` // of attestations
	Tag           string `json:"tag,omitempty"`           // that holds it, in the form of tags
	Kept          bool   `json:"kept,omitempty"`          // it was there already, by the same key
}

// Sign signs a digest.
func (s *Signer) Sign(ctx context.Context, p Place, subject v1.Descriptor, f Format) (Made, error) {
	made := Made{Digest: subject.Digest.String(), Kind: "signature"}
	if err := s.Writes(f); err != nil {
		return made, err
	}
	if f == Bundles {
		kept, err := s.bundle(ctx, p, subject, Statement{PredicateType: predicateSignature})
		made.Kept = kept
		return made, explain("signing", subject, err)
	}
	body, err := json.Marshal(payload.SimpleContainerImage{Critical: payload.Critical{
		Identity: payload.Identity{DockerReference: p.Name()},
		Image:    payload.Image{DockerManifestDigest: subject.Digest.String()},
		Type:     payload.CosignSignatureType,
	}})
	if err != nil {
		return made, err
	}
	existing, err := existing(ctx, p, subject, f, signatureTag(subject.Digest), artifactSignature, maxPayload)
	if err != nil {
		return made, explain("signing", subject, err)
	}
	if f == Tags {
		made.Tag = signatureTag(subject.Digest)
	}
	for _, l := range existing {
		raw, err := base64.StdEncoding.DecodeString(l.desc.Annotations[static.SignatureAnnotationKey])
		if err == nil && s.cert == nil && bytes.Equal(l.bytes, body) && s.key.VerifySignature(bytes.NewReader(raw), bytes.NewReader(body)) == nil {
			made.Kept = true
			return made, nil
		}
	}
	raw, err := s.key.SignMessage(bytes.NewReader(body), options.WithContext(ctx))
	if err != nil {
		return made, explain("signing", subject, err)
	}
	pr, err := s.proof(ctx, raw, logEntry{signature: raw, payload: body})
	if err != nil {
		return made, explain("signing", subject, err)
	}
	l := layer{bytes: body, desc: v1.Descriptor{MediaType: mediaPayload, Annotations: map[string]string{
		static.SignatureAnnotationKey: base64.StdEncoding.EncodeToString(raw),
	}}}
	if err := pr.annotate(&l); err != nil {
		return made, err
	}
	return made, explain("signing", subject, s.write(ctx, p, subject, f, made.Tag, artifactSignature, existing, l))
}

// Attest signs statements about a digest. One that is there already, of the
// same type and by the same key, is kept if it says the same, and else
// replaced.
func (s *Signer) Attest(ctx context.Context, p Place, subject v1.Descriptor, statements []Statement, f Format) ([]Made, error) {
	if err := s.Writes(f); err != nil {
		return nil, err
	}
	var all []Made
	for _, st := range statements {
		all = append(all, Made{Digest: subject.Digest.String(), Kind: "attestation", PredicateType: st.PredicateType})
	}
	if f == Bundles {
		for i, st := range statements {
			kept, err := s.bundle(ctx, p, subject, st)
			if err != nil {
				return nil, explain("attesting", subject, err)
			}
			all[i].Kept = kept
		}
		return all, nil
	}
	tag := ""
	if f == Tags {
		tag = attestationTag(subject.Digest)
	}
	layers, err := existing(ctx, p, subject, f, attestationTag(subject.Digest), artifactAttestation, maxAttestation)
	if err != nil {
		return nil, explain("attesting", subject, err)
	}
	there := s.read(ctx, layers)
	changed := false
	for i, st := range statements {
		all[i].Tag = tag
		body, err := st.marshal(subject)
		if err != nil {
			return nil, explain("attesting", subject, err)
		}
		mine := func(a attested) bool { return a.mine && a.predicateType == st.PredicateType }
		same := func(a attested) bool { return mine(a) && s.cert == nil && bytes.Equal(a.body, body) }
		if slices.ContainsFunc(there, same) {
			all[i].Kept = true
			continue
		}
		l, err := s.envelope(ctx, st.PredicateType, body)
		if err != nil {
			return nil, explain("attesting", subject, err)
		}
		there = append(slices.DeleteFunc(there, mine), attested{l, true, st.PredicateType, body})
		changed = true
	}
	if !changed {
		return all, nil
	}
	layers = layers[:0]
	for _, a := range there {
		layers = append(layers, a.layer)
	}
	return all, explain("attesting", subject, s.write(ctx, p, subject, f, tag, artifactAttestation, layers))
}

// explain says what was being done; a failed check says it itself.
func explain(doing string, subject v1.Descriptor, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, subject.Digest, err)
}

// marshal is the statement about a subject: in-toto's version 1, unless it is
// there already.
func (s Statement) marshal(subject v1.Descriptor) ([]byte, error) {
	if s.PredicateType == "" {
		return nil, errors.New("a statement without a predicate type says nothing that can be verified")
	}
	if s.Whole != nil {
		return s.Whole, checkWhole(s, subject)
	}
	predicate := bytes.TrimSpace(s.Predicate)
	if s.Predicate == nil {
		predicate = []byte("{}")
	}
	// An SBOM is large, and on one line already: it is not written anew.
	if bytes.IndexByte(predicate, '\n') >= 0 || !json.Valid(predicate) {
		var b bytes.Buffer
		if err := json.Compact(&b, predicate); err != nil {
			return nil, fmt.Errorf("the predicate %s is no JSON: %w", s.PredicateType, err)
		}
		predicate = b.Bytes()
	}
	const placeholder = "0"
	frame, err := marshalPlain(statement{
		Type:          statementV1,
		Subject:       []statementSubject{{Digest: map[string]string{subject.Digest.Algorithm: subject.Digest.Hex}}},
		PredicateType: s.PredicateType,
		Predicate:     json.RawMessage(placeholder),
	})
	if err != nil {
		return nil, err
	}
	before := bytes.TrimSuffix(frame, []byte(placeholder+"}"))
	return slices.Concat(before, predicate, []byte("}")), nil
}

// marshalPlain is JSON without escapes for HTML.
func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func checkWhole(s Statement, subject v1.Descriptor) error {
	var st statement
	if err := json.Unmarshal(s.Whole, &st); err != nil {
		return fmt.Errorf("the statement %s is no JSON: %w", s.PredicateType, err)
	}
	if st.PredicateType != s.PredicateType {
		return fail("predicate type", subject.Digest, s.PredicateType, st.PredicateType)
	}
	if !st.about(subject.Digest) {
		return fail("subject", subject.Digest, subject.Digest.String(), st.subjects())
	}
	return nil
}

// seal puts a statement into a signed envelope (DSSE v1.0), and returns the
// bare signature too.
func (s *Signer) seal(ctx context.Context, body []byte) (env, raw []byte, err error) {
	if raw, err = s.key.SignMessage(bytes.NewReader(dsse.PAE(payloadInToto, body)), options.WithContext(ctx)); err != nil {
		return nil, nil, err
	}
	// In base64 nothing is to be escaped, so JSON's writer, which looks for what
	// is, does not see it.
	const placeholder = "*"
	frame, err := json.Marshal(dsse.Envelope{
		PayloadType: payloadInToto,
		Payload:     placeholder,
		Signatures:  []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(raw)}},
	})
	if err != nil {
		return nil, nil, err
	}
	before, after, _ := bytes.Cut(frame, []byte(placeholder))
	env = make([]byte, 0, len(frame)+base64.StdEncoding.EncodedLen(len(body)))
	env = append(base64.StdEncoding.AppendEncode(append(env, before...), body), after...)
	if len(env) > maxAttestation {
		err = fmt.Errorf("the statement makes an attestation of %d bytes: at most %d are read again", len(env), maxAttestation)
	}
	return env, raw, err
}

// envelope signs a statement, and says beside it what vouches for it.
func (s *Signer) envelope(ctx context.Context, predicateType string, body []byte) (layer, error) {
	env, _, err := s.seal(ctx, body)
	if err != nil {
		return layer{}, fmt.Errorf("%s: %w", predicateType, err)
	}
	l := layer{bytes: env, desc: v1.Descriptor{MediaType: mediaEnvelope, Annotations: map[string]string{
		static.SignatureAnnotationKey: "",
		"predicateType":               predicateType,
	}}}
	pr, err := s.proof(ctx, env, logEntry{envelope: env})
	if err != nil {
		return layer{}, err
	}
	return l, pr.annotate(&l)
}

// attested is an attestation that is there already, or was just made.
type attested struct {
	layer         layer
	mine          bool // this key signed it; what follows is empty otherwise
	predicateType string
	body          []byte // of the statement
}

// read opens the attestations that this key signed.
func (s *Signer) read(ctx context.Context, layers []layer) []attested {
	pub, err := s.PublicKey()
	var all []attested
	for _, l := range layers {
		a := attested{layer: l}
		if err == nil {
			var st statement
			if body, err := openEnvelope(ctx, pub.verifier, l.bytes); err == nil && json.Unmarshal(body, &st) == nil {
				a.mine, a.predicateType, a.body = true, st.PredicateType, body
			}
		}
		all = append(all, a)
	}
	return all
}

// existing are the layers of what is there already in that form.
func existing(ctx context.Context, p Place, subject v1.Descriptor, f Format, tag, artifactType string, limit int64) ([]layer, error) {
	switch f {
	case Tags:
		d, err := p.Resolve(ctx, tag)
		if errors.Is(err, ErrNotThere) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return readLayers(ctx, p, d, limit)
	case Referrers:
		return artifacts(ctx, p, subject.Digest, artifactType, limit)
	}
	return nil, fmt.Errorf("unknown signature format %q: want one of %v", f, Formats())
}

// write stores layers: all of them under a tag, or those that are new as a
// referrer. first are those that were there.
func (s *Signer) write(ctx context.Context, p Place, subject v1.Descriptor, f Format, tag, artifactType string, first []layer, more ...layer) error {
	if f == Tags {
		img, err := newImage(append(first[:len(first):len(first)], more...))
		if err != nil {
			return err
		}
		return p.Put(ctx, img, tag)
	}
	if len(more) == 0 {
		more = first[len(first)-1:]
	}
	for _, l := range more {
		if err := putArtifact(ctx, p, subject, artifactType, nil, l); err != nil {
			return err
		}
	}
	return nil
}

// proof is what vouches for a signature beside the key.
type proof struct {
	cert, chain []byte
	timestamp   []byte
	entry       *models.LogEntryAnon
}

// proof collects what goes with a signature; stamped is what a timestamp is
// over.
func (s *Signer) proof(ctx context.Context, stamped []byte, e logEntry) (proof, error) {
	pr := proof{cert: s.cert, chain: s.chain}
	var err error
	if s.stamp != nil {
		if pr.timestamp, err = s.stamp(ctx, stamped); err != nil {
			return proof{}, fmt.Errorf("asking for a timestamp: %w", err)
		}
	}
	if s.log != nil {
		if e.signer, err = s.signerPEM(); err != nil {
			return proof{}, err
		}
		entry, err := s.log(ctx, e)
		if err != nil {
			return proof{}, fmt.Errorf("writing to the transparency log: %w", err)
		}
		pr.entry = entry
	}
	return pr, nil
}

// signerPEM is the certificate or, without one, the public key.
func (s *Signer) signerPEM() ([]byte, error) {
	if s.cert != nil {
		return s.cert, nil
	}
	pub, err := s.key.PublicKey()
	if err != nil {
		return nil, err
	}
	return cryptoutils.MarshalPublicKeyToPEM(pub)
}

func (pr proof) annotate(l *layer) error {
	if pr.cert != nil {
		l.desc.Annotations[static.CertificateAnnotationKey] = string(pr.cert)
		l.desc.Annotations[static.ChainAnnotationKey] = string(pr.chain)
	}
	if pr.timestamp != nil {
		b, err := json.Marshal(bundle.TimestampToRFC3161Timestamp(pr.timestamp))
		if err != nil {
			return err
		}
		l.desc.Annotations[static.RFC3161TimestampAnnotationKey] = string(b)
	}
	if pr.entry != nil {
		b, err := json.Marshal(bundle.EntryToBundle(pr.entry))
		if err != nil {
			return err
		}
		l.desc.Annotations[static.BundleAnnotationKey] = string(b)
	}
	return nil
}
