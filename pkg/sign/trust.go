package sign

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"regexp"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/tuf" //lint:ignore SA1019 cosign takes its constants
)

// Trust says whose signatures count: those of any of the keys, and those under
// a certificate that an authority gave to any of the identities.
type Trust struct {
	Keys        []PublicKey
	Identities  []Identity
	Authorities Authorities
}

// Identity is whom a certificate is for. Of each pair one is enough; an empty
// pair fits everybody.
type Identity struct {
	Issuer        string `json:"issuer,omitempty"` // who vouches: the OIDC issuer's URL
	IssuerRegexp  string `json:"issuer-regexp,omitempty"`
	Subject       string `json:"subject,omitempty"` // who it is: an address, a workflow's URL
	SubjectRegexp string `json:"subject-regexp,omitempty"`
}

func (i Identity) String() string {
	pick := func(exact, pattern string) string {
		switch {
		case exact != "":
			return exact
		case pattern != "":
			return "/" + pattern + "/"
		}
		return "anybody"
	}
	return pick(i.Subject, i.SubjectRegexp) + " as " + pick(i.Issuer, i.IssuerRegexp) + " has it"
}

func (i Identity) check() error {
	for _, p := range []string{i.IssuerRegexp, i.SubjectRegexp} {
		if _, err := regexp.Compile(p); err != nil {
			return fmt.Errorf("identity: %w", err)
		}
	}
	if i == (Identity{}) {
		return fmt.Errorf("an identity that everybody has: name an issuer and a subject")
	}
	return nil
}

// Authorities are who vouches for identities and times. Either the root that
// sigstore publishes as one file, or its parts.
type Authorities struct {
	TrustedRoot []byte // JSON (sigstore's TrustedRoot message)

	Certificates []byte // PEM: the certificate authority's chain, root last
	Timestamps   []byte // PEM: the timestamp authority's chain, root last
	LogKeys      []byte // PEM: public keys of transparency logs; entries are required then
	CTKeys       []byte // PEM: public keys of certificate transparency logs; their receipts are required then
}

// Empty says whether nobody vouches.
func (a Authorities) Empty() bool { return a.TrustedRoot == nil && a.Certificates == nil }

// options are cosign's, for signatures under certificates.
func (a Authorities) options() (cosign.CheckOpts, error) {
	o := cosign.CheckOpts{Offline: true, IgnoreTlog: true, IgnoreSCT: true}
	if a.TrustedRoot != nil {
		tr, err := root.NewTrustedRootFromJSON(a.TrustedRoot)
		if err != nil {
			return o, fmt.Errorf("reading the trusted root: %w", err)
		}
		o.TrustedMaterial = tr
		o.IgnoreTlog = len(tr.RekorLogs()) == 0
		o.IgnoreSCT = len(tr.CTLogs()) == 0
		o.UseSignedTimestamps = len(tr.TimestampingAuthorities()) > 0
		return o, nil
	}
	var err error
	if o.RootCerts, o.IntermediateCerts, err = pools(a.Certificates); err != nil {
		return o, fmt.Errorf("reading the certificate authority's chain: %w", err)
	}
	if a.Timestamps != nil {
		if err := timestampChain(&o, a.Timestamps); err != nil {
			return o, fmt.Errorf("reading the timestamp authority's chain: %w", err)
		}
	}
	for _, x := range []struct {
		pem    []byte
		keys   **cosign.TrustedTransparencyLogPubKeys
		ignore *bool
	}{{a.LogKeys, &o.RekorPubKeys, &o.IgnoreTlog}, {a.CTKeys, &o.CTLogPubKeys, &o.IgnoreSCT}} {
		if x.pem == nil {
			continue
		}
		keys := cosign.NewTrustedTransparencyLogPubKeys()
		if err := keys.AddTransparencyLogPubKey(x.pem, tuf.Active); err != nil {
			return o, fmt.Errorf("reading a log's public key: %w", err)
		}
		*x.keys, *x.ignore = &keys, false
	}
	return o, nil
}

// material is what sigstore's own verifier wants: the trusted root, or one made
// of the chains. Logs are known to it from a trusted root only.
func (a Authorities) material() (root.TrustedMaterial, error) {
	if a.TrustedRoot != nil {
		return root.NewTrustedRootFromJSON(a.TrustedRoot)
	}
	if a.LogKeys != nil || a.CTKeys != nil {
		return nil, fmt.Errorf("bundles whose log entries are to be checked need a trusted root")
	}
	certs, err := cryptoutils.UnmarshalCertificatesFromPEM(a.Certificates)
	if err != nil {
		return nil, err
	}
	ca := &root.FulcioCertificateAuthority{}
	for _, c := range certs {
		if selfSigned(c) {
			ca.Root = c
		} else {
			ca.Intermediates = append(ca.Intermediates, c)
		}
	}
	var authorities []root.TimestampingAuthority
	if a.Timestamps != nil {
		certs, err := cryptoutils.UnmarshalCertificatesFromPEM(a.Timestamps)
		if err != nil {
			return nil, err
		}
		tsa := &root.SigstoreTimestampingAuthority{}
		for _, c := range certs {
			switch {
			case selfSigned(c):
				tsa.Root = c
			case c.IsCA:
				tsa.Intermediates = append(tsa.Intermediates, c)
			default:
				tsa.Leaf = c
			}
		}
		authorities = append(authorities, tsa)
	}
	return root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{ca}, nil, authorities, nil)
}

// pools are a chain's roots, which signed themselves, and the rest.
func pools(chain []byte) (roots, intermediates *x509.CertPool, err error) {
	certs, err := cryptoutils.UnmarshalCertificatesFromPEM(chain)
	if err != nil {
		return nil, nil, err
	}
	roots = x509.NewCertPool()
	n := 0
	for _, c := range certs {
		if selfSigned(c) {
			roots.AddCert(c)
			n++
			continue
		}
		if intermediates == nil {
			intermediates = x509.NewCertPool()
		}
		intermediates.AddCert(c)
	}
	if n == 0 {
		return nil, nil, fmt.Errorf("no root certificate among %d", len(certs))
	}
	return roots, intermediates, nil
}

func selfSigned(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

func timestampChain(o *cosign.CheckOpts, chain []byte) error {
	certs, err := cryptoutils.UnmarshalCertificatesFromPEM(chain)
	if err != nil {
		return err
	}
	for _, c := range certs {
		switch {
		case selfSigned(c):
			o.TSARootCertificates = append(o.TSARootCertificates, c)
		case c.IsCA:
			o.TSAIntermediateCertificates = append(o.TSAIntermediateCertificates, c)
		default:
			o.TSACertificate = c
		}
	}
	if len(o.TSARootCertificates) == 0 {
		return fmt.Errorf("no root certificate among %d", len(certs))
	}
	o.UseSignedTimestamps = true
	return nil
}

// expected says for people whose signature would have counted.
func (t Trust) expected() string {
	var all []string
	for _, k := range t.Keys {
		all = append(all, "the key "+k.Name+" ("+k.ID+")")
	}
	for _, i := range t.Identities {
		all = append(all, i.String())
	}
	return strings.Join(all, " or ")
}

func (t Trust) check() error {
	if len(t.Keys) == 0 && len(t.Identities) == 0 {
		return fmt.Errorf("whose signature counts? name a key or an identity")
	}
	if len(t.Identities) > 0 && t.Authorities.Empty() {
		return fmt.Errorf("identities need an authority that vouches for them: name a trusted root or a certificate chain")
	}
	for _, i := range t.Identities {
		if err := i.check(); err != nil {
			return err
		}
	}
	return nil
}
