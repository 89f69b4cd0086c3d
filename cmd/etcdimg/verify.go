package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/policy"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// verifyFlags are the flags of the verify command.
type verifyFlags struct {
	registryFlags
	policy    string
	asked     policy.Policy
	identity  sign.Identity
	recursive bool
	output    string
}

func newVerifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Check an image's signatures, attestations, and a policy",
		Long: `Check an image, and unless told otherwise every image of an index: that somebody
whose word counts has signed it, that what they attest is about it and has the
form that it claims, and whatever a policy asks for. IMAGE is a name in a registry,
or an OCI layout on disk. Nobody else is asked: no log, no authority.

A tag is looked up once; the digest that it named is printed, and is what was
checked. What does not hold is named with the digest, what was expected and what
was found; the exit code is 1 then.`,
		Example: `  etcdimg verify registry.example/etcd:3.6.16-0 --key cosign.pub
  etcdimg verify registry.example/etcd:3.6.16-0 --key cosign.pub --attestation spdxjson --attestation slsaprovenance1
  etcdimg verify dist/hardened --policy policy.yaml`,
		Args: cobra.ExactArgs(1),
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.policy, "policy", "", "file with what is asked of the image (YAML)")
	cmd.Flags().StringSliceVar(&f.asked.Keys, "key", nil, "file with a public key whose signatures count (repeatable)")
	cmd.Flags().StringSliceVar(&f.asked.Attestations, "attestation", nil, "attestation that must be there: spdxjson, cyclonedx, slsaprovenance1, openvex or a URI (repeatable)")
	cmd.Flags().StringVar(&f.identity.Subject, "certificate-identity", "", "whom a certificate must be for")
	cmd.Flags().StringVar(&f.identity.SubjectRegexp, "certificate-identity-regexp", "", "the same as a regular expression")
	cmd.Flags().StringVar(&f.identity.Issuer, "certificate-oidc-issuer", "", "who must have vouched for them")
	cmd.Flags().StringVar(&f.identity.IssuerRegexp, "certificate-oidc-issuer-regexp", "", "the same as a regular expression")
	cmd.Flags().StringVar(&f.asked.Trust.Root, "trusted-root", "", "file with sigstore's trusted root (JSON)")
	cmd.Flags().StringVar(&f.asked.Trust.Certificates, "certificate-chain", "", "file with the certificate authority's chain (PEM)")
	cmd.Flags().StringVar(&f.asked.Trust.Timestamps, "timestamp-certificate-chain", "", "file with the timestamp authority's chain (PEM)")
	cmd.Flags().StringVar(&f.asked.Trust.LogKeys, "rekor-key", "", "file with the transparency log's public key; entries are required then (PEM)")
	cmd.Flags().StringVar(&f.asked.Trust.CTKeys, "ct-key", "", "file with the certificate transparency log's public key; receipts are required then (PEM)")
	cmd.Flags().BoolVar(&f.recursive, "recursive", true, "check the images of an index too")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.output = *output
		if err := checkOutput(cmd, f.output, "text", "json"); err != nil {
			return err
		}
		return runVerify(cmd, args[0], f)
	}
	return cmd
}

// checkedReport is what verify prints with --output json.
type checkedReport struct {
	Digest       string             `json:"digest"`
	Verified     bool               `json:"verified"`
	Signatures   []sign.Signature   `json:"signatures"`
	Attestations []sign.Attestation `json:"attestations"`
	Failures     []*sign.Failure    `json:"failures"`
	Others       []string           `json:"others,omitempty"` // signatures that do not count
}

func runVerify(cmd *cobra.Command, argument string, f verifyFlags) error {
	p, trust, err := f.wanted(cmd)
	if err != nil {
		return err
	}
	place, root, err := f.open(cmd, argument, "")
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	subjects, err := sign.Subjects(ctx, place, root, f.recursive)
	if err != nil {
		return err
	}
	found, err := sign.Verify(ctx, place, subjects, trust)
	if err != nil {
		return err
	}
	created := map[v1.Hash]time.Time{}
	for _, s := range subjects {
		t, ok, err := sign.Created(ctx, place, s)
		if err != nil {
			return err
		}
		if ok {
			created[s.Digest] = t
		}
	}
	if err := p.Check(found, created, time.Now()); err != nil {
		return err
	}
	return printVerify(cmd.OutOrStdout(), argument, found, f.output)
}

// wanted is what flags and policy ask for together.
func (f *verifyFlags) wanted(cmd *cobra.Command) (*policy.Policy, sign.Trust, error) {
	p := &policy.Policy{}
	if f.policy != "" {
		var err error
		if p, err = policy.Load(f.policy); err != nil {
			return nil, sign.Trust{}, err
		}
	}
	if f.identity != (sign.Identity{}) {
		f.asked.Identities = append(f.asked.Identities, f.identity)
	}
	for _, a := range f.asked.Attestations {
		if _, err := policy.PredicateType(a); err != nil {
			return nil, sign.Trust{}, usagef(cmd, "--attestation %w", err)
		}
	}
	// Whoever names signers on the command line means those, not more.
	if len(f.asked.Keys) > 0 || len(f.asked.Identities) > 0 {
		p.Keys, p.Identities = f.asked.Keys, f.asked.Identities
	}
	if f.asked.Trust != (policy.Trust{}) {
		p.Trust = f.asked.Trust
	}
	p.Attestations = append(p.Attestations, f.asked.Attestations...)
	if len(p.Keys) == 0 && len(p.Identities) == 0 {
		return nil, sign.Trust{}, usagef(cmd, "whose signature counts? name a key with --key, an identity with --certificate-identity, or a policy with --policy")
	}
	trust, err := p.SignaturesBy()
	return p, trust, err
}

// errNotVerified is what a failed verification ends with; what failed is
// printed before.
var errNotVerified = errors.New("not verified")

func printVerify(w io.Writer, argument string, found []sign.Checked, output string) error {
	failures := 0
	var report []checkedReport
	for _, c := range found {
		failures += len(c.Failures)
		report = append(report, checkedReport{
			Digest: c.Subject.Digest.String(), Verified: len(c.Failures) == 0,
			Signatures: slices.Concat([]sign.Signature{}, c.Signatures), Attestations: slices.Concat([]sign.Attestation{}, c.Attestations),
			Failures: slices.Concat([]*sign.Failure{}, c.Failures), Others: c.Others,
		})
	}
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	} else {
		for _, r := range report {
			printChecked(w, r)
		}
	}
	if failures > 0 {
		return fmt.Errorf("%s: %w: %d of the checks failed", filepath.ToSlash(argument), errNotVerified, failures)
	}
	return nil
}

func printChecked(w io.Writer, r checkedReport) {
	state := "verified"
	if !r.Verified {
		state = "NOT VERIFIED"
	}
	fmt.Fprintf(w, "%s  %s\n", r.Digest, state)
	for _, s := range r.Signatures {
		fmt.Fprintf(w, "  signed by %s\n", s.By)
	}
	for _, a := range r.Attestations {
		fmt.Fprintf(w, "  %s by %s\n", policy.Name(a.PredicateType), a.By)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "  FAILED %s: expected %s, found %s\n", f.Check, f.Expected, f.Found)
	}
}

// readBounded reads what an attestation is to say.
func readBounded(path string) ([]byte, error) {
	const most = 64 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return os.ReadFile(path)
}
