package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// signer is who signs; nil for nobody.
func (o *options) signer(ctx context.Context) (*sign.Signer, error) {
	switch {
	case o.services.Fulcio != "":
		token := os.Getenv("SIGSTORE_ID_TOKEN")
		if o.token != "" {
			b, err := os.ReadFile(o.token)
			if err != nil {
				return nil, fmt.Errorf("--identity-token: %w", err)
			}
			token = string(b)
		}
		if token == "" {
			return nil, errors.New("--fulcio-url: give a token in $SIGSTORE_ID_TOKEN or with --identity-token")
		}
		return sign.Keyless(ctx, o.services, token)
	case o.key != "":
		pem, err := os.ReadFile(o.key)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		s, err := sign.LoadKey(pem, func() ([]byte, error) { return []byte(os.Getenv("COSIGN_PASSWORD")), nil })
		if err != nil {
			return nil, fmt.Errorf("--key %s: %w", o.key, err)
		}
		return s.With(o.services)
	}
	fmt.Fprintln(os.Stderr, "nobody signs this release: name a key with --key, or a certificate authority with --fulcio-url")
	return nil, nil
}

// sign signs the list of sums, and attests the provenance.
func (r *release) sign(ctx context.Context, signer *sign.Signer) error {
	if signer == nil {
		return nil
	}
	list, err := os.ReadFile(filepath.Join(r.dir, sumsFile))
	if err != nil {
		return err
	}
	made, err := signer.SignBlob(ctx, list)
	if err != nil {
		return err
	}
	said, err := os.ReadFile(filepath.Join(r.dir, provenanceFile))
	if err != nil {
		return err
	}
	attested, err := signer.AttestBlobs(ctx, said)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{
		sumsFile + ".sig": made.Signature, sumsFile + ".pem": made.Certificate, sumsFile + ".sigstore.json": made.Bundle,
		program + ".provenance.sigstore.json": attested,
	} {
		if b == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(r.dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
