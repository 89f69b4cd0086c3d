package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/provenance"
	"github.com/etcdimg/etcdimg/pkg/rebuild"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// rebuildFlags are the flags of the rebuild command.
type rebuildFlags struct {
	registryFlags
	inputFlags
	key     string
	against string
	files   string
	out     string
	jobs    int
	output  string
}

func newRebuildCommand() *cobra.Command {
	var f rebuildFlags
	cmd := &cobra.Command{
		Use:   "rebuild IMAGE|LAYOUT",
		Short: "Build an image again from its provenance alone, and compare",
		Long: `Build an image again on this machine, from its provenance alone, and compare:
index, manifests, configurations and layers, down to the first file and byte
that differ. The profile and its lock are not needed, and not looked at. With a
key, the provenance is taken from an attestation that the key has signed, and the
image's signature has to be the key's too.

IMAGE is a name in a registry; LAYOUT a directory with an OCI layout, with :TAG
behind where it has several images. Exit status 0 says that every byte is the
same.`,
		Example: `  etcdimg rebuild registry.example/etcd:3.6.16-0
  etcdimg rebuild registry.example/etcd:3.6.16-0 --against dist/hardened`,
		Args: cobra.ExactArgs(1),
	}
	f.registryFlags.register(cmd)
	cmd.Flags().StringVar(&f.key, "key", "", "file with the public key that must have signed the image and attested its provenance")
	cmd.Flags().StringVar(&f.against, "against", "", "compare with this image or layout instead; the provenance is IMAGE's")
	cmd.Flags().StringVar(&f.files, "files", "", "folder with the profile's local files above 1 MiB, by their names: the provenance has only their digests")
	cmd.Flags().StringVarP(&f.out, "out", "o", "", "write what was built into this directory, as an OCI layout")
	cmd.Flags().IntVarP(&f.jobs, "jobs", "j", defaultJobs(), "how many compilers to run at once")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.output = *output
		if err := checkOutput(cmd, f.output, "text", "json"); err != nil {
			return err
		}
		return runRebuild(cmd, args[0], f)
	}
	return cmd
}

var errDiffers = errors.New("the image was not built again as it is")

func runRebuild(cmd *cobra.Command, reference string, f rebuildFlags) error {
	ctx := cmd.Context()
	client, err := f.client(cmd)
	if err != nil {
		return err
	}
	s, d, err := inspect.Open(ctx, reference, client)
	if err != nil {
		return err
	}
	defer s.Close()
	find := rebuild.Unverified
	if f.key != "" {
		if find, err = f.attested(cmd, reference, d); err != nil {
			return err
		}
	}
	in, err := rebuild.Read(ctx, s, d, find, f.local)
	if errors.Is(err, rebuild.ErrNoProvenance) {
		return fmt.Errorf("%s: %w: etcdimg build puts one into a layout, etcdimg publish into a registry", reference, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", reference, err)
	}
	if f.against != "" {
		other, at, err := inspect.Open(ctx, f.against, client)
		if err != nil {
			return err
		}
		defer other.Close()
		s, d = other, at
	}
	report, result, err := rebuild.Rebuild(ctx, s, d, in, f.builder(cmd))
	if err != nil {
		return fmt.Errorf("%s: %w", reference, err)
	}
	return printRebuild(cmd, f, report, result)
}

// local finds a local file that the provenance names by digest alone.
func (f *rebuildFlags) local(pinned lock.LocalFile) ([]byte, error) {
	if f.files == "" {
		return nil, errors.New("it is not in the provenance, being large: say with --files in which folder it is")
	}
	return os.ReadFile(filepath.Join(f.files, path.Base(filepath.ToSlash(pinned.Path))))
}

// attested gives the provenances about an image that the key has signed.
func (f *rebuildFlags) attested(cmd *cobra.Command, reference string, d v1.Descriptor) (rebuild.Provenances, error) {
	trust, err := trustKey(f.key)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	place, _, err := f.open(cmd, reference, "")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ inspect.Source, digest v1.Hash) ([][]byte, error) {
		checked, err := sign.Verify(ctx, place, []v1.Descriptor{d}, trust)
		if err != nil {
			return nil, err
		}
		var found [][]byte
		for _, c := range checked {
			if len(c.Failures) > 0 {
				return nil, fmt.Errorf("the image is not to be believed: %w", c.Failures[0])
			}
			for _, a := range c.Attestations {
				if a.PredicateType != provenance.PredicateType {
					continue
				}
				content, err := provenance.Wrap(digest, a.Predicate)
				if err != nil {
					return nil, err
				}
				found = append(found, content)
			}
		}
		return found, nil
	}, nil
}

// trustKey trusts the public key in a file, and nobody else.
func trustKey(file string) (sign.Trust, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return sign.Trust{}, err
	}
	key, err := sign.LoadPublicKey(file, pem)
	return sign.Trust{Keys: []sign.PublicKey{key}}, err
}

// builder builds as the build command does, from the inputs that it is given.
func (f *rebuildFlags) builder(cmd *cobra.Command) rebuild.Builder {
	return func(ctx context.Context, in *provenance.Inputs) (*build.Result, error) {
		c, err := openCache()
		if err != nil {
			return nil, err
		}
		defer c.Close()
		quiet, _ := cmd.Flags().GetBool("quiet")
		show := newProgress(cmd.ErrOrStderr(), quiet)
		defer show.close()
		options := f.options(cmd, c, show)
		options.Jobs, options.Epoch = f.jobs, in.Epoch
		if f.out != "" {
			options.Describers = describers()
		}
		builder, err := build.New(options)
		if err != nil {
			return nil, err
		}
		return builder.Build(ctx, in.Profile, in.Lock, in.Archs, func(r *build.Result) error {
			if f.out == "" {
				return nil
			}
			tag, err := in.Profile.ImageTag()
			if err != nil {
				return err
			}
			return image.WriteLayout(ctx, f.out, r.Index, image.Name{Repository: in.Profile.Name, Tags: []string{tag}}, c, r.Statements...)
		})
	}
}

func printRebuild(cmd *cobra.Command, f rebuildFlags, report *rebuild.Report, r *build.Result) error {
	w := cmd.OutOrStdout()
	switch {
	case f.output == "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	case report.Difference == nil:
		for _, i := range r.Images {
			fmt.Fprintf(w, "%-8s %s  the same\n", i.Arch, i.Digest)
		}
		fmt.Fprintf(w, "%-8s %s  the same\n", "all", report.Built)
	}
	if report.Difference != nil {
		return fmt.Errorf("%w: it is %s, and was built as %s\n%s", errDiffers, report.Digest, report.Built, report.Difference)
	}
	return nil
}
