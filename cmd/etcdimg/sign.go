package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/publish"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// signFlags are the flags of every command that signs.
type signFlags struct {
	key       string
	format    string
	recursive bool
	services  sign.Services
	token     string
	vex       string
}

func (f *signFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.key, "key", "", "sign with the private key in this file: cosign's form (password in $COSIGN_PASSWORD) or PKCS #8")
	cmd.Flags().StringVar(&f.format, "signature-format", string(sign.Tags), "where signatures go: tag (.sig and .att, which everybody reads), referrer (OCI 1.1) or bundle (sigstore's)")
	cmd.Flags().BoolVar(&f.recursive, "recursive", true, "sign the images of an index too")
	cmd.Flags().StringVar(&f.services.Fulcio, "fulcio-url", "", "sign with a key for this once, for which the certificate authority at this address vouches")
	cmd.Flags().StringVar(&f.services.Timestamp, "timestamp-url", "", "have signatures stamped by the timestamp authority at this address")
	cmd.Flags().StringVar(&f.services.Rekor, "rekor-url", "", "write signatures to the transparency log at this address")
	cmd.Flags().IntVar(&f.services.RekorAPI, "rekor-version", 1, "API version of the transparency log: 1, or 2, whose entries go into bundles only")
	cmd.Flags().StringVar(&f.token, "identity-token", "", "file with the token (OIDC) for the certificate authority, in place of $"+tokenVariable)
}

// registerVEX adds the flag for what is said at the time of signing.
func (f *signFlags) registerVEX(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.vex, "vex", "", "file with an OpenVEX document to attest about everything that is signed")
}

// signing is how to sign what a command makes; nil if nothing is to be signed.
func (f *signFlags) signing(cmd *cobra.Command) (*publish.Signing, error) {
	if !f.wanted() {
		if f.vex != "" {
			return nil, usagef(cmd, "--vex is attested: name a key with --key, or a certificate authority with --fulcio-url")
		}
		return nil, nil
	}
	s := &publish.Signing{Recursive: f.recursive}
	if f.vex != "" {
		st, err := predicate(cmd, "openvex", f.vex)
		if err != nil {
			return nil, err
		}
		s.Everywhere = append(s.Everywhere, st)
	}
	var err error
	s.Signer, s.Format, err = f.signer(cmd)
	return s, err
}

// tokenVariable names the environment variable with an identity token, as
// cosign has it.
const tokenVariable = "SIGSTORE_ID_TOKEN"

// wanted says whether anything is to be signed.
func (f *signFlags) wanted() bool { return f.key != "" || f.services.Fulcio != "" }

func (f *signFlags) signer(cmd *cobra.Command) (*sign.Signer, sign.Format, error) {
	format := sign.Format(f.format)
	if !slices.Contains(sign.Formats(), format) {
		return nil, "", usagef(cmd, "--signature-format %q: want tag, referrer or bundle", f.format)
	}
	switch {
	case f.services.RekorAPI != 1 && f.services.RekorAPI != 2:
		return nil, "", usagef(cmd, "--rekor-version %d: want 1 or 2", f.services.RekorAPI)
	case f.services.Rekor != "" && f.services.RekorAPI == 2 && format != sign.Bundles:
		return nil, "", usagef(cmd, "--rekor-version 2: its entries go into bundles only: add --signature-format bundle")
	case !f.wanted():
		return nil, "", usagef(cmd, "with what? name a key with --key, or a certificate authority with --fulcio-url")
	case f.key != "" && f.services.Fulcio != "":
		return nil, "", usagef(cmd, "--key and --fulcio-url: sign with one of them")
	case f.key == "":
		token, err := f.identityToken()
		if err != nil {
			return nil, "", err
		}
		s, err := sign.Keyless(cmd.Context(), f.services, token)
		return s, format, err
	}
	pem, err := os.ReadFile(f.key)
	if err != nil {
		return nil, "", fmt.Errorf("--key: %w", err)
	}
	s, err := sign.LoadKey(pem, func() ([]byte, error) { return password(cmd) })
	if err != nil {
		return nil, "", fmt.Errorf("--key %s: %w", f.key, err)
	}
	s, err = s.With(f.services)
	return s, format, err
}

func (f *signFlags) identityToken() (string, error) {
	if f.token != "" {
		b, err := readBounded(f.token)
		if err != nil {
			return "", fmt.Errorf("--identity-token: %w", err)
		}
		return string(b), nil
	}
	token := os.Getenv(tokenVariable)
	if token == "" {
		return "", fmt.Errorf("the certificate authority wants to know who signs: give a token in $%s or with --identity-token", tokenVariable)
	}
	return token, nil
}

// newSignCommand signs an image that is there.
func newSignCommand() *cobra.Command {
	var f signFlags
	var r registryFlags
	cmd := &cobra.Command{
		Use:   "sign IMAGE",
		Short: "Sign an image in a registry or in an OCI layout",
		Long: `Sign an image: an index, and unless told otherwise every image in it. IMAGE is a
name in a registry, or an OCI layout on disk (DIR, DIR:TAG). Signatures are what
cosign makes and reads. One that is there already is kept.`,
		Example: `  etcdimg sign registry.example/etcd:3.6.16-0 --key cosign.key
  etcdimg sign dist/hardened --key cosign.key && cosign verify --local-image --key cosign.pub --private-infrastructure dist/hardened`,
		Args: cobra.ExactArgs(1),
	}
	f.register(cmd)
	r.register(cmd)
	identity := cmd.Flags().String("identity", "", "name of the image in signatures, for a layout that has none (default the directory's)")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(cmd, *output, "text", "json"); err != nil {
			return err
		}
		signer, format, err := f.signer(cmd)
		if err != nil {
			return err
		}
		place, root, err := r.open(cmd, args[0], *identity)
		if err != nil {
			return err
		}
		subjects, err := sign.Subjects(cmd.Context(), place, root, f.recursive)
		if err != nil {
			return err
		}
		var all []sign.Made
		for _, s := range subjects {
			made, err := signer.Sign(cmd.Context(), place, s, format)
			if err != nil {
				return err
			}
			all = append(all, made)
		}
		return printMade(cmd.OutOrStdout(), all, *output)
	}
	return cmd
}

func printMade(w io.Writer, all []sign.Made, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	for _, m := range all {
		what, kept := m.Kind, ""
		if m.PredicateType != "" {
			what += " " + m.PredicateType
		}
		if m.Kept {
			kept = " (there already)"
		}
		fmt.Fprintf(w, "%s  %s%s\n", m.Digest, what, kept)
	}
	return nil
}
