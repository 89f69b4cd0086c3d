package sign_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/sign"
	"github.com/etcdimg/etcdimg/pkg/sign/signtest"
)

// logged makes the bench sign as somebody whose signatures stand in a log, and
// trust both.
func (b *bench) logged(a *authority, log *signtest.Rekor) {
	b.t.Helper()
	b.trust = sign.Trust{
		Identities:  []sign.Identity{{Subject: "release@etcd.example", Issuer: issuer}},
		Authorities: sign.Authorities{Certificates: pemCert(a.root.cert), LogKeys: log.Public},
	}
	var err error
	if b.signer, err = sign.Keyless(b.t.Context(), sign.Services{Fulcio: a.server.URL, Rekor: log.URL}, token("release@etcd.example", "valid")); err != nil {
		b.t.Fatal(err)
	}
}

func TestSignaturesInALogAreVerified(t *testing.T) {
	a, log := newAuthority(t), signtest.NewRekor(t)
	for _, f := range []sign.Format{sign.Tags, sign.Referrers} {
		t.Run(string(f), func(t *testing.T) {
			for _, b := range []*bench{inRegistry(t), inLayout(t)} {
				b.logged(a, log)
				b.sign(f, sbom)
				for _, c := range b.verify() {
					if len(c.Failures)+len(c.Others) > 0 || len(c.Signatures) != 1 || len(c.Attestations) != 1 {
						t.Errorf("%+v", c)
					}
				}
			}
		})
	}
	kinds := log.Kinds()
	slices.Sort(kinds)
	if got := slices.Compact(kinds); !slices.Equal(got, []string{"hashedrekord", "intoto"}) {
		t.Errorf("the log has entries of the kinds %v", got)
	}
}

// With a key the log is a witness that nobody has to ask.
func TestAKeyIsLoggedToo(t *testing.T) {
	log := signtest.NewRekor(t)
	for _, f := range sign.Formats() {
		b := inRegistry(t)
		var err error
		if b.signer, err = b.signer.With(sign.Services{Rekor: log.URL}); err != nil {
			t.Fatal(err)
		}
		b.sign(f, sbom)
		if got := b.only(); got != "" {
			t.Errorf("%s: %s", f, got)
		}
	}
	if len(log.Kinds()) != 3*6 {
		t.Errorf("%d entries for three signatures and attestations in three forms", len(log.Kinds()))
	}
}

func TestEntriesThatDoNotCount(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, b *bench)
		want   string
	}{
		"of another log": {func(t *testing.T, b *bench) { b.trust.Authorities.LogKeys = signtest.NewRekor(t).Public }, "its certificate is for release@etcd.example"},
		"missing": {func(_ *testing.T, b *bench) {
			l := b.stored(tagOf(b.root, ".sig"))[0]
			delete(l.Annotations, "dev.sigstore.cosign/bundle")
			b.store(tagOf(b.root, ".sig"), l)
		}, "its certificate is for release@etcd.example"},
		"of another signature": {func(_ *testing.T, b *bench) {
			l, other := b.stored(tagOf(b.root, ".sig"))[0], b.stored(tagOf(b.subjects()[1], ".sig"))[0]
			l.Annotations["dev.sigstore.cosign/bundle"] = other.Annotations["dev.sigstore.cosign/bundle"]
			b.store(tagOf(b.root, ".sig"), l)
		}, "its certificate is for release@etcd.example"},
		"changed": {func(t *testing.T, b *bench) {
			l := b.stored(tagOf(b.root, ".sig"))[0]
			const key = "dev.sigstore.cosign/bundle"
			before := l.Annotations[key]
			l.Annotations[key] = strings.Replace(before, `"integratedTime":1`, `"integratedTime":2`, 1)
			if l.Annotations[key] == before {
				t.Fatalf("nothing was changed in %s", before)
			}
			b.store(tagOf(b.root, ".sig"), l)
		}, "its certificate is for release@etcd.example"},
	} {
		t.Run(name, func(t *testing.T) {
			b := inRegistry(t)
			b.logged(newAuthority(t), signtest.NewRekor(t))
			b.sign(sign.Tags)
			tt.change(t, b)
			if got := b.only(); !strings.Contains(got, tt.want) || !strings.Contains(got, "signature of "+b.root.Digest.String()) {
				t.Errorf("found %q\nwant  %q", got, tt.want)
			}
		})
	}
}

// What a log of the newer kind answers has a place in bundles only, and tells
// no time.
func TestLogsOfTheNewerKind(t *testing.T) {
	b := inRegistry(t)
	newer := sign.Services{Rekor: "http://127.0.0.1:1", RekorAPI: 2}
	s, err := b.signer.With(newer)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []sign.Format{sign.Tags, sign.Referrers} {
		if _, err := s.Sign(t.Context(), b.place, b.root, f); err == nil || !strings.Contains(err.Error(), "go into bundles only, not into the form "+string(f)) {
			t.Errorf("%s: %v", f, err)
		}
		if _, err := s.Attest(t.Context(), b.place, b.root, nil, f); err == nil || !strings.Contains(err.Error(), "go into bundles only") {
			t.Errorf("%s: %v", f, err)
		}
	}
	newer.Fulcio = newAuthority(t).server.URL
	if _, err := sign.Keyless(t.Context(), newer, token("release@etcd.example", "valid")); err == nil || !strings.Contains(err.Error(), "name a timestamp authority too") {
		t.Errorf("without timestamps: %v", err)
	}
	newer.RekorAPI = 3
	if _, err := b.signer.With(newer); err == nil || !strings.Contains(err.Error(), "there are 1 and 2") {
		t.Errorf("API version 3: %v", err)
	}
}
