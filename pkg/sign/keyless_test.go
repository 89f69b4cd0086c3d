package sign_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// authority is a certificate authority and a timestamp authority in one,
// which speak as Fulcio and as RFC 3161 have it.
type authority struct {
	t        *testing.T
	server   *httptest.Server
	root     certified
	stamper  certified
	lifetime time.Duration // of certificates
	age      time.Duration // how long ago certificates began
	stampAge time.Duration // how long ago stamps say it is
}

type certified struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, lifetime: 10 * time.Minute}
	a.age = 20 * time.Hour
	a.root = a.issue("root", nil, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	// RFC 3161, section 2.3: the purpose is critical.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	a.stamper = a.issue("stamper", nil, func(c *x509.Certificate) {
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	})
	a.age = 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/signingCert", a.certify)
	mux.HandleFunc("POST /stamp", a.stamp)
	a.server = httptest.NewServer(mux)
	t.Cleanup(a.server.Close)
	return a
}

// issue makes a certificate for a public key, or with nil for a new one.
func (a *authority) issue(name string, public crypto.PublicKey, change func(*x509.Certificate)) certified {
	a.t.Helper()
	var c certified
	var err error
	if public == nil {
		if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			a.t.Fatal(err)
		}
		public = c.key.Public()
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	began := time.Now().Add(-a.age).Add(-time.Minute)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"test"}},
		NotBefore: began, NotAfter: began.Add(24 * time.Hour),
	}
	change(template)
	parent, signer := a.root.cert, a.root.key
	if parent == nil {
		parent, signer = template, c.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return c
}

func pemCert(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// certify gives out a certificate as Fulcio does: for whom the token is.
func (a *authority) certify(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Credentials struct {
			Token string `json:"oidcIdentityToken"`
		} `json:"credentials"`
		Key struct {
			Public struct {
				Content string `json:"content"`
			} `json:"publicKey"`
			Proof []byte `json:"proofOfPossession"`
		} `json:"publicKeyRequest"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	parts := strings.Split(req.Credentials.Token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || parts[2] != "valid" {
		http.Error(w, "the token is not valid", http.StatusUnauthorized)
		return
	}
	var claims struct{ Email, Iss string }
	if err := json.Unmarshal(raw, &claims); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	block, _ := pem.Decode([]byte(req.Key.Public.Content))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sum := crypto.SHA256.New()
	sum.Write([]byte(claims.Email))
	if !ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), sum.Sum(nil), req.Key.Proof) {
		http.Error(w, "no proof that the key is there", http.StatusBadRequest)
		return
	}
	c := a.issue("", public, func(c *x509.Certificate) {
		c.NotAfter = c.NotBefore.Add(a.lifetime)
		c.EmailAddresses = []string{claims.Email}
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(claims.Iss)}}
	})
	_ = json.NewEncoder(w).Encode(map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{
		"certificates": []string{string(pemCert(c.cert)), string(pemCert(a.root.cert))},
	}}})
}

func (a *authority) stamp(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	q, err := timestamp.ParseRequest(raw)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ts := timestamp.Timestamp{
		HashAlgorithm: q.HashAlgorithm, HashedMessage: q.HashedMessage, Time: time.Now().Add(-a.stampAge),
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, SerialNumber: big.NewInt(7), AddTSACertificate: q.Certificates,
	}
	answer, err := ts.CreateResponseWithOpts(a.stamper.cert, a.stamper.key, crypto.SHA256)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(answer)
}

const issuer = "https://issuer.example"

func token(email, signature string) string {
	claims, _ := json.Marshal(map[string]string{"email": email, "iss": issuer, "sub": "x"})
	return "e30." + base64.RawURLEncoding.EncodeToString(claims) + "." + signature
}

// keyless makes the bench sign as somebody, and trust them.
func (b *bench) keyless(a *authority, stamped bool) {
	b.t.Helper()
	s := sign.Services{Fulcio: a.server.URL}
	b.trust = sign.Trust{
		Identities:  []sign.Identity{{Subject: "release@etcd.example", Issuer: issuer}},
		Authorities: sign.Authorities{Certificates: pemCert(a.root.cert)},
	}
	if stamped {
		s.Timestamp = a.server.URL + "/stamp"
		b.trust.Authorities.Timestamps = append(pemCert(a.stamper.cert), pemCert(a.root.cert)...)
	}
	var err error
	if b.signer, err = sign.Keyless(b.t.Context(), s, token("release@etcd.example", "valid")); err != nil {
		b.t.Fatal(err)
	}
}

func TestSignedUnderACertificateIsVerified(t *testing.T) {
	a := newAuthority(t)
	for _, f := range sign.Formats() {
		for name, stamped := range map[string]bool{"stamped": true, "not stamped": false} {
			t.Run(string(f)+" "+name, func(t *testing.T) {
				for _, b := range []*bench{inRegistry(t), inLayout(t)} {
					b.keyless(a, stamped)
					b.sign(f, sbom)
					for _, c := range b.verify() {
						if len(c.Failures) > 0 || len(c.Others) > 0 {
							t.Errorf("%v %v", c.Failures, c.Others)
						}
						want := sign.Signature{By: "release@etcd.example as " + issuer + " has it", Format: f}
						if len(c.Signatures) != 1 || c.Signatures[0] != want {
							t.Errorf("signatures %+v, want %+v", c.Signatures, want)
						}
						if len(c.Attestations) != 1 || c.Attestations[0].By != want.By {
							t.Errorf("attestations %+v", c.Attestations)
						}
					}
				}
			})
		}
	}
}

func TestCertificatesThatDoNotCount(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, a *authority, b *bench)
		want   string
	}{
		"another subject": {func(_ *testing.T, _ *authority, b *bench) { b.trust.Identities[0].Subject = "other@etcd.example" }, "its certificate is for release@etcd.example as https://issuer.example has it: "},
		"another issuer":  {func(_ *testing.T, _ *authority, b *bench) { b.trust.Identities[0].Issuer = "https://other.example" }, "its certificate is for release@etcd.example as https://issuer.example has it: "},
		"another authority": {func(t *testing.T, _ *authority, b *bench) {
			b.trust.Authorities.Certificates = pemCert(newAuthority(t).root.cert)
		}, "its certificate is for "},
		"a stamp of another authority": {func(t *testing.T, _ *authority, b *bench) {
			o := newAuthority(t)
			b.trust.Authorities.Timestamps = append(pemCert(o.stamper.cert), pemCert(o.root.cert)...)
		}, "its certificate is for "},
		"a bare key": {func(t *testing.T, _ *authority, b *bench) { b.signer, _ = newKey(t, "x") }, "has no certificate"},
	} {
		for _, f := range sign.Formats() {
			t.Run(name+" "+string(f), func(t *testing.T) {
				a := newAuthority(t)
				b := inRegistry(t)
				b.keyless(a, true)
				tt.change(t, a, b)
				b.sign(f)
				if got := b.only(); !strings.Contains(got, tt.want) || !strings.Contains(got, "signature of "+b.root.Digest.String()) {
					t.Errorf("found %q\nwant  %q", got, tt.want)
				}
			})
		}
	}
}

// A certificate counts at the time of the signature: a stamp shows when that
// was, and without one it is now.
func TestExpiredCertificates(t *testing.T) {
	for _, f := range sign.Formats() {
		t.Run(string(f), func(t *testing.T) {
			a := newAuthority(t)
			a.age = 2 * time.Hour // certificates ended long ago
			late := inRegistry(t)
			late.keyless(a, false)
			late.sign(f)
			if got := late.only(); !strings.Contains(got, "expired") {
				t.Errorf("after its end: %q", got)
			}
			stampedLate := inRegistry(t)
			stampedLate.keyless(a, true)
			stampedLate.sign(f)
			if got := stampedLate.only(); !strings.Contains(got, "its certificate is for") {
				t.Errorf("stamped after its end: %q", got)
			}
			a.stampAge = 2 * time.Hour
			inTime := inRegistry(t)
			inTime.keyless(a, true)
			inTime.sign(f)
			if got := inTime.only(); got != "" {
				t.Errorf("stamped in time: %q", got)
			}
		})
	}
}

func TestAuthoritiesThatRefuse(t *testing.T) {
	a := newAuthority(t)
	for _, tt := range []struct{ token, want string }{
		{token("release@etcd.example", "forged"), "401 Unauthorized the token is not valid"},
		{"nothing", "the identity token is no JWT"},
		{"e30.e30.x", "the identity token names nobody"},
	} {
		_, err := sign.Keyless(t.Context(), sign.Services{Fulcio: a.server.URL}, tt.token)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.token, err)
		}
		if err != nil && strings.Contains(err.Error(), tt.token) {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}
