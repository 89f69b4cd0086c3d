package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/policy"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// claim is a statement about a digest, with what it says.
type claim struct {
	kind      string // as policies name it: spdxjson, openvex, …
	predicate json.RawMessage
	by        string // whose key it was verified with; empty where none was asked for
	from      string // referrer or attestation
}

// claimsAbout are the statements about a digest. Where keys were given it is
// what their holders attest, and nothing else.
func (a *auditor) claimsAbout(ctx context.Context, digest v1.Hash) ([]claim, error) {
	if a.req.Checked != nil {
		i := slices.IndexFunc(a.req.Checked, func(c sign.Checked) bool { return c.Subject.Digest == digest })
		if i < 0 {
			return nil, nil
		}
		var found []claim
		for _, t := range a.req.Checked[i].Attestations {
			found = append(found, claim{policy.Name(t.PredicateType), t.Predicate, t.By, "attestation"})
		}
		return found, nil
	}
	statements, err := inspect.Statements(ctx, a.req.Source, digest)
	if err != nil {
		return nil, err
	}
	var found []claim
	for _, s := range statements {
		p, err := s.Predicate()
		if err != nil {
			return nil, err
		}
		kind := policy.Name(s.PredicateType)
		switch {
		case s.PredicateType != "":
		case strings.HasPrefix(s.ArtifactType, "application/spdx+json"):
			kind = "spdxjson"
		case strings.HasPrefix(s.ArtifactType, "application/vnd.cyclonedx"):
			kind = "cyclonedx"
		default:
			kind = s.ArtifactType
		}
		found = append(found, claim{kind: kind, predicate: p, from: "referrer"})
	}
	attested, err := a.unverified(ctx, digest)
	return append(found, attested...), err
}

// unverified are the statements in cosign's attestations and in sigstore's
// bundles, whoever signed them.
func (a *auditor) unverified(ctx context.Context, digest v1.Hash) ([]claim, error) {
	holders := map[string]bool{}
	for _, s := range a.report.Signatures {
		if s.Subject == digest.String() && s.Form != ".sig" {
			holders[s.Digest] = true
		}
	}
	var found []claim
	for _, s := range a.report.Signatures {
		if !holders[s.Digest] {
			continue
		}
		delete(holders, s.Digest)
		all, err := a.envelopes(ctx, s.Digest)
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			if c.digest == digest.Hex {
				found = append(found, c.claim)
			}
		}
	}
	return found, nil
}

type aboutDigest struct {
	claim
	digest string // SHA-256, hex
}

// envelopes reads what a manifest of attestations has: DSSE envelopes (v1.0),
// bare or in bundles (v0.3), around in-toto statements (v1).
func (a *auditor) envelopes(ctx context.Context, manifest string) ([]aboutDigest, error) {
	h, err := v1.NewHash(manifest)
	if err != nil {
		return nil, err
	}
	raw, err := a.req.Source.Manifest(ctx, h)
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("attestations %s: %w", manifest, err)
	}
	var found []aboutDigest
	for _, l := range m.Layers {
		b, err := a.req.Source.Blob(ctx, l.Digest)
		if err != nil {
			return nil, err
		}
		type envelope struct {
			Payload []byte `json:"payload"`
		}
		var e struct {
			envelope
			Bundled envelope `json:"dsseEnvelope"`
		}
		if json.Unmarshal(b, &e) != nil {
			continue // a signature, and no statement
		}
		var st struct {
			Type    string          `json:"predicateType"`
			What    json.RawMessage `json:"predicate"`
			Subject []struct {
				Digest map[string]string `json:"digest"`
			} `json:"subject"`
		}
		payload := e.Payload
		if payload == nil {
			payload = e.Bundled.Payload
		}
		if json.Unmarshal(payload, &st) != nil {
			continue
		}
		for _, s := range st.Subject {
			found = append(found, aboutDigest{claim{kind: policy.Name(st.Type), predicate: st.What, from: "attestation"}, s.Digest["sha256"]})
		}
	}
	return found, nil
}
