package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/cacherepo"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/publish"
	"github.com/etcdimg/etcdimg/pkg/registry"
)

// publishFlags are the flags of the publish command.
type publishFlags struct {
	pipelineFlags
	registryFlags
	signFlags
	tags      []string
	byDigest  bool
	signFirst bool
	output    string
}

func newPublishCommand() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish PROFILE|LAYOUT REF...",
		Short: "Build a profile's images, push them to registries, and sign them",
		Long: `Build a profile's images, or look them up in the cache, and push them to
registries with their SBOMs and provenance. A reference without a tag takes the
profile's. An OCI layout (DIR or DIR:TAG) is pushed as it is, with the signatures
that it holds.

With --key the index and its images are signed, and what is said about them is
attested. --sign-then-tag does so before the tags move: nobody sees the new image
under a tag without its signature then.

Blobs and manifests are pushed by digest, at once where they can be, and none
that is there already. Tags move last, when every repository holds everything:
a push that fails leaves them where they were, and another one goes on from
there. Passwords come from docker's and podman's configuration and their
credential helpers.`,
		Example: `  etcdimg publish configs/hardened.yaml registry.example/etcd
  etcdimg publish configs/hardened.yaml registry.example/etcd:3.6.16-0 --tag 3.6 --tag latest
  etcdimg publish configs/hardened.yaml registry.example/etcd --key cosign.key --sign-then-tag
  etcdimg publish configs/hardened.yaml localhost:5000/etcd --insecure --arch host
  etcdimg publish dist/hardened registry.example/etcd:3.6.16-0`,
		Args: cobra.MinimumNArgs(2),
	}
	f.pipelineFlags.register(cmd)
	f.registryFlags.register(cmd)
	f.pipelineFlags.registry = &f.registryFlags
	f.signFlags.register(cmd)
	f.registerVEX(cmd)
	cmd.Flags().StringSliceVarP(&f.tags, "tag", "t", nil, "TAG that shall name the image too, in every repository (repeatable)")
	cmd.Flags().BoolVar(&f.byDigest, "by-digest", false, "push the images alone, without an index and without a tag")
	cmd.Flags().BoolVar(&f.signFirst, "sign-then-tag", false, "sign before the tags move, not after")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.output = *output
		if err := checkOutput(cmd, f.output, "text", "json"); err != nil {
			return err
		}
		return runPublish(cmd, args[0], args[1:], f)
	}
	return cmd
}

// publishReport is what publish prints with --output json.
type publishReport struct {
	*build.Result                // of a profile
	Published     []publish.Done `json:"published"`
}

func runPublish(cmd *cobra.Command, source string, refs []string, f publishFlags) error {
	client, err := f.client(cmd)
	if err != nil {
		return err
	}
	req := publish.Request{ByDigest: f.byDigest, SignFirst: f.signFirst}
	signing, err := f.signing(cmd)
	if err != nil {
		return err
	}
	if signing != nil {
		signing.Client = client
		req.Signer = signing
	} else if f.signFirst {
		return usagef(cmd, "--sign-then-tag: with what? name a key with --key, or a certificate authority with --fulcio-url")
	}
	var report publishReport
	if dir, reference, ok := layoutArgument(source); ok {
		report.Published, err = publishLayout(cmd, client, dir, reference, refs, f, req, signing)
	} else {
		report, err = publishProfile(cmd, client, source, refs, f, req, signing)
	}
	if err != nil {
		return err
	}
	return printPublish(cmd.OutOrStdout(), report, f.output)
}

func publishLayout(cmd *cobra.Command, client *registry.Client, dir, reference string, refs []string, f publishFlags, req publish.Request, signing *publish.Signing) ([]publish.Done, error) {
	l, err := image.OpenLayout(dir)
	if err != nil {
		return nil, err
	}
	d, err := l.Resolve(reference)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	usual := func() (string, error) {
		if tag := d.Annotations[ocispec.AnnotationRefName]; profile.ValidTag(tag) {
			return tag, nil
		}
		return "", fmt.Errorf("%s names no tag: write one behind the repository", dir)
	}
	if req.Targets, err = targets(cmd, client, refs, f, usual); err != nil {
		return nil, err
	}
	what, extras, said, err := publish.FromLayout(l, d)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", dir, err)
	}
	req.What, req.Extras = what, extras
	if signing != nil {
		signing.Statements = said
	}
	return publish.Publish(cmd.Context(), client, req)
}

func publishProfile(cmd *cobra.Command, client *registry.Client, path string, refs []string, f publishFlags, req publish.Request, signing *publish.Signing) (publishReport, error) {
	p, tagged, err := f.load(cmd, path)
	if err != nil {
		return publishReport{}, err
	}
	if req.Targets, err = targets(cmd, client, refs, f, tagged.ImageTag); err != nil {
		return publishReport{}, err
	}
	var done []publish.Done
	result, err := f.run(cmd, p, describers(), func(r *build.Result, c build.Store) error {
		req.What = r.Index
		if shared, ok := c.(*cacherepo.Store); ok {
			req.From = []name.Repository{shared.Repository()}
		}
		if req.Extras, err = publish.Statements(r.Statements); err != nil {
			return err
		}
		if signing != nil {
			signing.Statements = r.Statements
		}
		done, err = publish.Publish(cmd.Context(), client, req)
		return err
	})
	return publishReport{result, done}, err
}

// targets are the repositories that references name, each with its tags.
func targets(cmd *cobra.Command, client *registry.Client, refs []string, f publishFlags, usual func() (string, error)) ([]publish.Target, error) {
	if f.byDigest && len(f.tags) > 0 {
		return nil, usagef(cmd, "--by-digest moves no tag: leave --tag out")
	}
	for _, tag := range f.tags {
		if !profile.ValidTag(tag) {
			return nil, usagef(cmd, "--tag %q is no tag: want letters, digits, underscores, dots and dashes, at most 128", tag)
		}
	}
	var all []publish.Target
	for _, s := range refs {
		ref, err := client.ParseReference(s)
		if err != nil {
			return nil, usagef(cmd, "%s: %w", s, err)
		}
		tag, ok := ref.(name.Tag)
		tagged := ok && strings.HasSuffix(s, ":"+tag.TagStr())
		switch {
		case !ok:
			return nil, usagef(cmd, "%s: the digest follows from the image: name a repository, with or without a tag", s)
		case f.byDigest && tagged:
			return nil, usagef(cmd, "%s: --by-digest moves no tag: name the repository alone", s)
		}
		i := slices.IndexFunc(all, func(t publish.Target) bool { return t.Repository == ref.Context() })
		if i < 0 {
			i, all = len(all), append(all, publish.Target{Repository: ref.Context()})
		}
		if f.byDigest {
			continue
		}
		name := tag.TagStr()
		if !tagged {
			if name, err = usual(); err != nil {
				return nil, err
			}
		}
		for _, tag := range append([]string{name}, f.tags...) {
			if !slices.Contains(all[i].Tags, tag) {
				all[i].Tags = append(all[i].Tags, tag)
			}
		}
	}
	return all, nil
}

func printPublish(w io.Writer, r publishReport, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, d := range r.Published {
		if d.Digest == "" {
			for _, digest := range d.Images {
				fmt.Fprintf(w, "%s@%s\n", d.Repository, digest)
			}
			continue
		}
		fmt.Fprintf(w, "%s@%s  %s\n", d.Repository, d.Digest, strings.Join(d.Tags, ","))
	}
	return nil
}
