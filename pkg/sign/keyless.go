package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	rekor "github.com/sigstore/rekor/pkg/client"
	"github.com/sigstore/rekor/pkg/generated/models"
	sgsign "github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Services are who vouches for signatures beside the key, each by its address.
// None is asked unless it is named.
type Services struct {
	Fulcio    string       // the certificate authority: https://fulcio.example
	Timestamp string       // the timestamp authority's endpoint: https://tsa.example/api/v1/timestamp
	Rekor     string       // the transparency log: https://rekor.example
	RekorAPI  int          // its API's version, 1 or 2; 0 for 1
	Client    *http.Client // nil for one that waits half a minute
}

func (s Services) client() *http.Client {
	if s.Client != nil {
		return s.Client
	}
	return &http.Client{Timeout: 30 * time.Second}
}

// Keyless makes a key that lives as long as the signer, and asks the
// certificate authority to say whose it is. The token (OIDC, a JWT) shows that
// to the authority.
func Keyless(ctx context.Context, s Services, token string) (*Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	sv, err := signature.LoadSignerVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	signer := &Signer{key: sv}
	if s.Rekor != "" && s.RekorAPI == 2 && s.Timestamp == "" {
		return nil, errors.New("a transparency log of API version 2 does not say when an entry was made: name a timestamp authority too")
	}
	if signer.cert, signer.chain, err = s.certificate(ctx, sv, token); err != nil {
		return nil, fmt.Errorf("asking %s for a certificate: %w", s.Fulcio, err)
	}
	return signer.With(s)
}

// With returns the signer with a timestamp and an entry in a log for every
// signature, as far as the services have them.
func (s *Signer) With(services Services) (*Signer, error) {
	with := *s
	if services.Timestamp != "" {
		with.stamp = services.timestamp
	}
	if services.Rekor == "" {
		return &with, nil
	}
	switch services.RekorAPI {
	case 0, 1:
		client, err := rekor.GetRekorClient(services.Rekor)
		if err != nil {
			return nil, fmt.Errorf("the transparency log %s: %w", services.Rekor, err)
		}
		with.log = func(ctx context.Context, e logEntry) (*models.LogEntryAnon, error) {
			switch {
			case e.bundled:
				return cosign.TLogUploadDSSEEnvelope(ctx, client, e.envelope, e.signer)
			case e.envelope != nil:
				return cosign.TLogUploadInTotoAttestation(ctx, client, e.envelope, e.signer)
			}
			sum := sha256.New()
			sum.Write(e.payload)
			return cosign.TLogUpload(ctx, client, e.signature, sum, e.signer)
		}
	case 2:
		with.bundleLog = sgsign.NewRekor(&sgsign.RekorOptions{BaseURL: services.Rekor, Version: 2})
	default:
		return nil, fmt.Errorf("a transparency log of API version %d: there are 1 and 2", services.RekorAPI)
	}
	return &with, nil
}

// subject is whom a token is about, as the authority reads it: an address that
// was verified, or else the subject.
func subject(token string) (string, error) {
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 {
		return "", errors.New("the identity token is no JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errors.New("the identity token is no JWT")
	}
	var claims struct {
		Subject string `json:"sub"`
		Email   string `json:"email"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return "", fmt.Errorf("reading the identity token: %w", err)
	}
	if claims.Email != "" {
		return claims.Email, nil
	}
	if claims.Subject == "" {
		return "", errors.New("the identity token names nobody")
	}
	return claims.Subject, nil
}

// certificate asks for a certificate (Fulcio's API, version 2), and returns it
// and the chain above it, in PEM.
func (s Services) certificate(ctx context.Context, key signature.SignerVerifier, token string) (cert, chain []byte, err error) {
	who, err := subject(token)
	if err != nil {
		return nil, nil, err
	}
	proof, err := key.SignMessage(strings.NewReader(who))
	if err != nil {
		return nil, nil, err
	}
	pub, err := key.PublicKey()
	if err != nil {
		return nil, nil, err
	}
	public, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	if err != nil {
		return nil, nil, err
	}
	body, err := json.Marshal(map[string]any{
		"credentials": map[string]string{"oidcIdentityToken": strings.TrimSpace(token)},
		"publicKeyRequest": map[string]any{
			"publicKey":         map[string]string{"algorithm": "ECDSA", "content": string(public)},
			"proofOfPossession": base64.StdEncoding.EncodeToString(proof),
		},
	})
	if err != nil {
		return nil, nil, err
	}
	address, err := url.JoinPath(s.Fulcio, "api/v2/signingCert")
	if err != nil {
		return nil, nil, err
	}
	answer, err := s.post(ctx, address, "application/json", body)
	if err != nil {
		return nil, nil, err
	}
	type certificates struct {
		Chain struct {
			Certificates []string `json:"certificates"`
		} `json:"chain"`
	}
	var said struct {
		Embedded certificates `json:"signedCertificateEmbeddedSct"`
		Detached certificates `json:"signedCertificateDetachedSct"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	all := append(said.Embedded.Chain.Certificates, said.Detached.Chain.Certificates...)
	if len(all) == 0 {
		return nil, nil, errors.New("the answer has no certificate")
	}
	for i, c := range all {
		block, _ := pem.Decode([]byte(c))
		if block == nil {
			return nil, nil, errors.New("the answer has a certificate that is not in PEM form")
		}
		if i == 0 {
			cert = pem.EncodeToMemory(block)
			continue
		}
		chain = append(chain, pem.EncodeToMemory(block)...)
	}
	certs, err := cryptoutils.UnmarshalCertificatesFromPEM(cert)
	if err != nil {
		return nil, nil, err
	}
	if err := cryptoutils.EqualKeys(certs[0].PublicKey, pub); err != nil {
		return nil, nil, errors.New("the certificate is for another key")
	}
	return cert, chain, nil
}

// timestamp asks for a timestamp over bytes (RFC 3161), with the certificate
// of whoever gives it.
func (s Services) timestamp(ctx context.Context, signed []byte) ([]byte, error) {
	q, err := timestamp.CreateRequest(bytes.NewReader(signed), &timestamp.RequestOptions{Hash: crypto.SHA256, Certificates: true})
	if err != nil {
		return nil, err
	}
	answer, err := s.post(ctx, s.Timestamp, "application/timestamp-query", q)
	if err != nil {
		return nil, err
	}
	ts, err := timestamp.ParseResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", s.Timestamp, err)
	}
	if sum := sha256.Sum256(signed); !bytes.Equal(ts.HashedMessage, sum[:]) {
		return nil, fmt.Errorf("%s stamped something else", s.Timestamp)
	}
	return answer, nil
}

// maxAnswer bounds what a service answers, in bytes.
const maxAnswer = 1 << 20

// post sends a request up to three times.
func (s Services) post(ctx context.Context, address, mediaType string, body []byte) ([]byte, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		answer, again, err := s.postOnce(ctx, address, mediaType, body)
		if err == nil || !again || attempt == attempts {
			return answer, err
		}
		select {
		case <-time.After(time.Duration(attempt) * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s Services) postOnce(ctx context.Context, address, mediaType string, body []byte) (answer []byte, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("User-Agent", "etcdimg")
	resp, err := s.client().Do(req)
	if err != nil {
		return nil, ctx.Err() == nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, true, err
	}
	if resp.StatusCode/100 != 2 {
		// The token is in the request, not in the answer.
		said := strings.TrimSpace(string(answer[:min(len(answer), 200)]))
		return nil, resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, fmt.Errorf("%s: %s %s", address, resp.Status, said)
	}
	return answer, false, nil
}
