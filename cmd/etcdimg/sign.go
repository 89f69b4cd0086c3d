package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// signFlags are the flags of every command that signs.
type signFlags struct {
	key       string
	format    string
	recursive bool
}

func (f *signFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.key, "key", "", "sign with the private key in this file: cosign's form (password in $COSIGN_PASSWORD) or PKCS #8")
	cmd.Flags().StringVar(&f.format, "signature-format", string(sign.Tags), "where signatures go: tag (.sig and .att, which everybody reads), referrer (OCI 1.1) or bundle (sigstore's)")
	cmd.Flags().BoolVar(&f.recursive, "recursive", true, "sign the images of an index too")
}

// wanted says whether anything is to be signed.
func (f *signFlags) wanted() bool { return f.key != "" }

func (f *signFlags) signer(cmd *cobra.Command) (*sign.Signer, sign.Format, error) {
	format := sign.Format(f.format)
	if !slices.Contains(sign.Formats(), format) {
		return nil, "", usagef(cmd, "--signature-format %q: want tag, referrer or bundle", f.format)
	}
	if !f.wanted() {
		return nil, "", usagef(cmd, "with what? name a key with --key")
	}
	pem, err := os.ReadFile(f.key)
	if err != nil {
		return nil, "", fmt.Errorf("--key: %w", err)
	}
	s, err := sign.LoadKey(pem, func() ([]byte, error) { return password(cmd) })
	if err != nil {
		return nil, "", fmt.Errorf("--key %s: %w", f.key, err)
	}
	return s, format, nil
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
