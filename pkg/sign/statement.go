package sign

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/signature"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"
)

// Types of statements (in-toto attestation framework, Statement layer). The
// older one is read only.
const (
	statementV1  = "https://in-toto.io/Statement/v1"
	statementV01 = "https://in-toto.io/Statement/v0.1"

	// predicateSignature is cosign's, by which a bundle says nothing but that
	// the image is signed.
	predicateSignature = "https://sigstore.dev/cosign/sign/v1"
)

type statement struct {
	Type          string             `json:"_type"`
	Subject       []statementSubject `json:"subject"`
	PredicateType string             `json:"predicateType"`
	Predicate     json.RawMessage    `json:"predicate"`
}

type statementSubject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

func (s statement) about(h v1.Hash) bool {
	return slices.ContainsFunc(s.Subject, func(x statementSubject) bool { return x.Digest[h.Algorithm] == h.Hex })
}

// subjects are the digests that the statement is about, for people.
func (s statement) subjects() string {
	var all []string
	for _, x := range s.Subject {
		for _, algorithm := range slices.Sorted(maps.Keys(x.Digest)) {
			all = append(all, algorithm+":"+x.Digest[algorithm])
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// openEnvelope returns the payload of a DSSE envelope that the verifier finds
// signed.
func openEnvelope(ctx context.Context, v signature.Verifier, b []byte) ([]byte, error) {
	var env dsse.Envelope
	if err := json.Unmarshal(b, &env); err != nil {
		return nil, fmt.Errorf("no DSSE envelope: %w", err)
	}
	if env.PayloadType != payloadInToto {
		return nil, fmt.Errorf("an envelope around %q: want %s", env.PayloadType, payloadInToto)
	}
	ev, err := dsse.NewEnvelopeVerifier(&sigdsse.VerifierAdapter{SignatureVerifier: v})
	if err != nil {
		return nil, err
	}
	if _, err := ev.Verify(ctx, &env); err != nil {
		return nil, err
	}
	return env.DecodeB64Payload()
}

// envelopePayload is what an envelope holds, whoever signed it; nil if it is
// none.
func envelopePayload(b []byte) []byte {
	var env dsse.Envelope
	if json.Unmarshal(b, &env) != nil {
		return nil
	}
	body, err := base64.StdEncoding.DecodeString(env.Payload)
	if err != nil {
		return nil
	}
	return body
}
