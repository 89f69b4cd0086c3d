package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/join"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/provenance"
	"github.com/etcdimg/etcdimg/pkg/publish"
	"github.com/etcdimg/etcdimg/pkg/registry"
)

// indexFlags are the flags of the index command.
type indexFlags struct {
	registryFlags
	signFlags
	from          []string
	archs         []string
	tags          []string
	revision      int
	profile       string
	provenanceKey string
	out           string
	output        string
}

func newIndexCommand() *cobra.Command {
	var f indexFlags
	cmd := &cobra.Command{
		Use:   "index [REF...] [DIGEST|LAYOUT...]",
		Short: "Join images that were built apart from each other into one index",
		Long: `Join images that were built apart from each other, one for each architecture, into
one index: push it to every REF, sign it and attest what is said about it with
--key, and move the tags last. It is the index that a build of all architectures
on one machine makes, with the same digest, SBOM and provenance.

DIGEST is REPO@sha256:…, as publish --by-digest prints it, or sha256:… for one in
the repository of the first REF; LAYOUT is an OCI layout on disk (DIR, DIR:TAG).
--from reads them from a file, one a line. REF is the name of an image in a
registry; without a tag it takes the profile's. With -o, the index is written
into a directory, as an OCI layout.

What the images were built from is read from their provenance. All have to come
from one lock and from this etcdimg; none may be missing, and none be there
twice. --profile asks for more: the lock has to be the one beside that profile.
--provenance-key believes nothing that its key has not attested.`,
		Example: `  etcdimg publish configs/hardened.yaml registry.example/etcd --arch arm64 --by-digest >arm64.txt   # on one machine
  etcdimg publish configs/hardened.yaml registry.example/etcd --arch amd64 --by-digest >amd64.txt   # on another
  etcdimg index registry.example/etcd:3.6.16-0 --from amd64.txt --from arm64.txt --arch amd64,arm64 --key cosign.key
  etcdimg index -o dist/hardened dist/amd64 dist/arm64 dist/ppc64le dist/s390x`,
	}
	f.registryFlags.register(cmd)
	f.signFlags.register(cmd)
	f.registerVEX(cmd)
	cmd.Flags().StringSliceVar(&f.from, "from", nil, "file with a DIGEST or LAYOUT in each line, - for standard input; what follows behind a blank does not count (repeatable)")
	cmd.Flags().StringSliceVar(&f.archs, "arch", nil, "make the index for these architectures, not for all that the profile has (repeatable)")
	cmd.Flags().StringSliceVarP(&f.tags, "tag", "t", nil, "TAG that shall name the image too, in every repository (repeatable)")
	cmd.Flags().IntVar(&f.revision, "revision", 0, "revision in the tag in place of the profile's")
	cmd.Flags().StringVar(&f.profile, "profile", "", "profile beside which the lock must lie that the images were built from")
	cmd.Flags().StringVar(&f.provenanceKey, "provenance-key", "", "file with the public key that must have attested what is said about the images")
	cmd.Flags().StringVarP(&f.out, "out", "o", "", "write the index into this directory, as an OCI layout")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.output = *output
		if err := checkOutput(cmd, f.output, "text", "json"); err != nil {
			return err
		}
		return runIndex(cmd, args, f)
	}
	return cmd
}

// part is what is to be joined, as it was named.
type part struct {
	argument string
	name     string // with the file and line that named it
}

// isPart tells what is to be joined from where the index goes.
func isPart(s string) bool {
	_, _, layout := layoutArgument(s)
	return layout || strings.HasPrefix(s, "sha256:") || strings.Contains(s, "@sha256:")
}

func runIndex(cmd *cobra.Command, args []string, f indexFlags) error {
	var refs []string
	var parts []part
	for _, arg := range args {
		if isPart(arg) {
			parts = append(parts, part{arg, arg})
		} else {
			refs = append(refs, arg)
		}
	}
	for _, file := range f.from {
		more, err := readParts(cmd, file)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		parts = append(parts, more...)
	}
	switch {
	case len(parts) == 0:
		return usagef(cmd, "of which images? name their digests or layouts, or files that list them with --from")
	case len(refs) == 0 && f.out == "":
		return usagef(cmd, "where to? name the image that the index shall be, or a directory with -o")
	case len(refs) == 0 && len(f.tags) > 0:
		return usagef(cmd, "--tag is for registries: name a repository")
	}
	client, err := f.client(cmd)
	if err != nil {
		return err
	}
	signing, err := f.signing(cmd)
	if err != nil {
		return err
	}
	options, err := f.options(cmd)
	if err != nil {
		return err
	}
	opened, from, err := f.openParts(cmd, client, parts, refs)
	for _, p := range opened {
		defer p.Source.Close()
	}
	if err != nil {
		return err
	}
	r, err := join.Join(cmd.Context(), opened, options)
	if err != nil {
		return err
	}
	report := publishReport{Result: r}
	if f.out != "" {
		if err := f.writeJoined(cmd, r, signing); err != nil {
			return err
		}
	}
	if len(refs) > 0 {
		if report.Published, err = f.publishJoined(cmd, client, r, refs, from, signing); err != nil {
			return err
		}
	}
	return printIndex(cmd.OutOrStdout(), report, f)
}

// readParts reads the list of a file.
func readParts(cmd *cobra.Command, file string) ([]part, error) {
	in, shown := cmd.InOrStdin(), "standard input"
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		in, shown = opened, file
	}
	var parts []part
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if !isPart(fields[0]) {
			return nil, fmt.Errorf("%s:%d: %q is neither REPO@sha256:…, as publish --by-digest prints it, nor an OCI layout", shown, n, fields[0])
		}
		parts = append(parts, part{fields[0], fmt.Sprintf("%s:%d: %s", shown, n, fields[0])})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", shown, err)
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%s names no image", shown)
	}
	return parts, nil
}

func (f *indexFlags) options(cmd *cobra.Command) (join.Options, error) {
	o := join.Options{Tool: thisTool(), Describers: describers()}
	for _, name := range f.archs {
		arch, err := profile.ParseArch(name)
		if err != nil {
			return o, usagef(cmd, "--arch %s: %w", name, err)
		}
		o.Archs = append(o.Archs, arch)
	}
	if f.profile != "" {
		check, err := lockedBy(f.profile)
		if err != nil {
			return o, fmt.Errorf("--profile: %w", err)
		}
		o.Check = check
	}
	if f.provenanceKey != "" {
		believed, err := f.attested(cmd)
		if err != nil {
			return o, fmt.Errorf("--provenance-key: %w", err)
		}
		o.Statements = believed
	}
	return o, nil
}

// lockedBy holds what images were built from against the lock of a profile.
func lockedBy(path string) (func(*provenance.Inputs) error, error) {
	p, err := loadProfile(path)
	if err != nil {
		return nil, err
	}
	l, err := lock.ReadFile(lockOf(p))
	if err != nil {
		return nil, err
	}
	if err := build.Match(p, l, p.Archs); err != nil {
		return nil, fmt.Errorf("%s: %w", lockOf(p), err)
	}
	return func(in *provenance.Inputs) error {
		differ, err := provenance.LockDifferences(l, in)
		if err != nil {
			return err
		}
		if len(differ) == 0 {
			return nil
		}
		return fmt.Errorf("the images were not built from %s; they differ in\n  %s", lockOf(p), strings.Join(differ, "\n  "))
	}, nil
}

// openParts opens what is to be joined, and tells in which repositories it is.
func (f *indexFlags) openParts(cmd *cobra.Command, client *registry.Client, parts []part, refs []string) ([]join.Part, []name.Repository, error) {
	var opened []join.Part
	var from []name.Repository
	var errs []error
	for _, p := range parts {
		argument := p.argument
		if strings.HasPrefix(argument, "sha256:") {
			if len(refs) == 0 {
				return opened, nil, usagef(cmd, "%s: in which repository? write REPO@%s", p.name, argument)
			}
			ref, err := client.ParseReference(refs[0])
			if err != nil {
				return opened, nil, usagef(cmd, "%s: %w", refs[0], err)
			}
			argument = ref.Context().Name() + "@" + argument
		}
		if _, _, layout := layoutArgument(argument); !layout {
			ref, err := client.ParseReference(argument)
			if err != nil {
				return opened, nil, usagef(cmd, "%s: %w", p.name, err)
			}
			from = append(from, ref.Context())
		}
		s, d, err := inspect.Open(cmd.Context(), argument, client)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		opened = append(opened, join.Part{Name: p.name, Argument: argument, Source: s, Descriptor: d})
	}
	return opened, from, errors.Join(errs...)
}

func (f *indexFlags) publishJoined(cmd *cobra.Command, client *registry.Client, r *build.Result, refs []string, from []name.Repository, signing *publish.Signing) ([]publish.Done, error) {
	tagged := *r.Resolved
	if cmd.Flags().Changed("revision") {
		if f.revision < 0 {
			return nil, usagef(cmd, "--revision %d is negative", f.revision)
		}
		tagged.Revision = f.revision
	}
	req := publish.Request{What: r.Index, SignFirst: true, From: from}
	var err error
	if req.Targets, err = targets(cmd, client, refs, publishFlags{tags: f.tags}, tagged.ImageTag); err != nil {
		return nil, err
	}
	if req.Extras, err = publish.Statements(r.Statements); err != nil {
		return nil, err
	}
	if signing != nil {
		signing.Client, signing.Statements = client, r.Statements
		req.Signer = signing
	}
	return publish.Publish(cmd.Context(), client, req)
}

// writeJoined writes the index as an OCI layout.
func (f *indexFlags) writeJoined(cmd *cobra.Command, r *build.Result, signing *publish.Signing) error {
	if strings.HasSuffix(f.out, ".tar") {
		return usagef(cmd, "-o %s: an index is written as an OCI layout: name a directory", f.out)
	}
	tag, err := r.Resolved.ImageTag()
	if err != nil {
		return err
	}
	name := image.Name{Repository: r.Resolved.Name, Tags: []string{tag}}
	layers := layerFiles{}
	for _, i := range r.Images {
		found, err := i.Image.Layers()
		if err != nil {
			return err
		}
		for _, l := range found {
			digest, err := l.Digest()
			if err != nil {
				return err
			}
			layers[digest.String()] = l
		}
	}
	if err := image.WriteLayout(cmd.Context(), f.out, r.Index, name, layers, r.Statements...); err != nil {
		return err
	}
	if signing == nil {
		return nil
	}
	return signLayout(cmd.Context(), signing, f.out, name.Repository, r)
}

// layerFiles are layers that lie elsewhere, by digest. It is an image.Linker.
type layerFiles map[string]v1.Layer

// Link writes a layer to a file, if it has the digest.
func (l layerFiles) Link(digest, path string) error {
	layer, ok := l[digest]
	if !ok {
		return fmt.Errorf("no image has the layer %s", digest)
	}
	r, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	got, _, err := v1.SHA256(io.TeeReader(r, out))
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil && got.String() != digest {
		err = fmt.Errorf("the layer %s has the digest %s where it lies: it was changed or damaged", digest, got)
	}
	return err
}

func printIndex(w io.Writer, r publishReport, f indexFlags) error {
	if f.output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			publishReport
			Output string `json:"output,omitempty"`
		}{r, f.out})
	}
	if f.out != "" {
		fmt.Fprintf(w, "%s  %s\n", r.Digest, filepath.Clean(f.out))
	}
	return printPublish(w, r, f.output)
}

// attested gives what is said about images and was attested by a key.
func (f *indexFlags) attested(cmd *cobra.Command) (join.Statements, error) {
	trust, err := trustKey(f.provenanceKey)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, p join.Part, digest v1.Hash) ([]image.Statement, error) {
		place, _, err := f.open(cmd, p.Argument, "")
		if err != nil {
			return nil, err
		}
		said, err := join.Unverified(ctx, p, digest)
		if err != nil {
			return nil, err
		}
		return publish.Attested(ctx, place, digest, said, trust)
	}, nil
}
