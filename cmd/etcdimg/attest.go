package main

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/policy"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// newAttestCommand signs statements about an image that is there.
func newAttestCommand() *cobra.Command {
	var f signFlags
	var r registryFlags
	var kind, file string
	cmd := &cobra.Command{
		Use:   "attest IMAGE",
		Short: "Sign a statement about an image: an SBOM, a provenance, a VEX",
		Long: `Sign what a file says about an image, as an in-toto attestation. IMAGE is a name
in a registry, or an OCI layout on disk. The statement is about exactly the digest
that is named: an index, or with --recursive every image in it too.

Without --predicate what etcdimg has put beside the image, SBOMs and provenance of
the index and of every image, is attested.`,
		Example: `  etcdimg attest registry.example/etcd:3.6.16-0 --key cosign.key
  etcdimg attest registry.example/etcd:3.6.16-0 --key cosign.key --type openvex --predicate etcd.vex.json --recursive`,
		Args: cobra.ExactArgs(1),
	}
	f.register(cmd)
	cmd.Flags().Lookup("recursive").Usage = "attest about the images of an index too"
	r.register(cmd)
	cmd.Flags().StringVar(&kind, "type", "", "what the predicate is: spdxjson, cyclonedx, slsaprovenance1, openvex or a URI")
	cmd.Flags().StringVar(&file, "predicate", "", "file with the predicate (JSON)")
	identity := cmd.Flags().String("identity", "", "name of the image, for a layout that has none (default the directory's)")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(cmd, *output, "text", "json"); err != nil {
			return err
		}
		if (kind == "") != (file == "") {
			return usagef(cmd, "--type and --predicate belong together")
		}
		var given []sign.Statement
		if file != "" {
			st, err := predicate(cmd, kind, file)
			if err != nil {
				return err
			}
			given = append(given, st)
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
		all, err := attest(cmd, signer, place, subjects, given, format)
		if err != nil {
			return err
		}
		return printMade(cmd.OutOrStdout(), all, *output)
	}
	return cmd
}

// predicate reads what is to be attested, and holds it against its kind.
func predicate(cmd *cobra.Command, kind, file string) (sign.Statement, error) {
	uri, err := policy.PredicateType(kind)
	if err != nil {
		return sign.Statement{}, usagef(cmd, "--type: %w", err)
	}
	b, err := readBounded(file)
	if err != nil {
		return sign.Statement{}, fmt.Errorf("reading the predicate: %w", err)
	}
	if err := policy.CheckPredicate(uri, b); err != nil {
		return sign.Statement{}, fmt.Errorf("%s is no %s: %w", file, kind, err)
	}
	return sign.Statement{PredicateType: uri, Predicate: b}, nil
}

// attest signs the given statements, or without any those that lie beside each
// digest.
func attest(cmd *cobra.Command, signer *sign.Signer, place sign.Place, subjects []v1.Descriptor, given []sign.Statement, format sign.Format) ([]sign.Made, error) {
	var all []sign.Made
	for _, s := range subjects {
		statements := given
		if statements == nil {
			var err error
			if statements, err = sign.Unsigned(cmd.Context(), place, s); err != nil {
				return nil, err
			}
		}
		if len(statements) == 0 {
			continue
		}
		made, err := signer.Attest(cmd.Context(), place, s, statements, format)
		if err != nil {
			return nil, err
		}
		all = append(all, made...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing is said beside the image that could be attested: name a file with --predicate and --type")
	}
	return all, nil
}
