package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/sbom"
)

// sbomFlags are the flags of the sbom command, beside those of a build.
type sbomFlags struct {
	pipelineFlags
	registry registryFlags
	format   string
	scan     bool
	pretty   bool
}

func newSBOMCommand() *cobra.Command {
	var f sbomFlags
	cmd := &cobra.Command{
		Use:   "sbom IMAGE|LAYOUT|ARCHIVE|PROFILE",
		Short: "Print what is in an image, or what an index has",
		Long: `Print the SBOM of an image: the one that is attached to it, or, where there is
none, what syft finds in its files. Of a profile it is the SBOM of what the
profile builds. Without --arch it is that of the index, where there is one with an
SBOM of its own; else that of the image for this machine.`,
		Example: `  etcdimg sbom registry.example/etcd:3.6.16-0 --arch amd64
  etcdimg sbom dist/hardened --format cyclonedx --arch arm64 > etcd.cdx.json`,
		Args: cobra.ExactArgs(1),
	}
	f.register(cmd)
	f.registry.register(cmd)
	f.pipelineFlags.registry = &f.registry
	cmd.Flags().StringVar(&f.format, "format", string(sbom.SPDX), "spdx (2.3, JSON) or cyclonedx (1.6, JSON)")
	cmd.Flags().BoolVar(&f.scan, "scan", false, "look at the files even where an SBOM is attached")
	cmd.Flags().BoolVar(&f.pretty, "pretty", false, "indent it; attached SBOMs are on one line")
	cmd.Flags().Lookup("arch").Usage = "of the image for this architecture, or for the machine's own: host"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.format != string(sbom.SPDX) && f.format != string(sbom.CycloneDX) {
			return usagef(cmd, "--format %q: want spdx or cyclonedx", f.format)
		}
		if len(f.archs) > 1 {
			return usagef(cmd, "--arch: one SBOM is of one image: name one architecture")
		}
		if len(f.archs) == 1 && f.archs[0] == "host" {
			f.archs[0] = runtime.GOARCH
		}
		document, err := f.document(cmd, args[0])
		if err != nil {
			return err
		}
		if f.pretty {
			var b bytes.Buffer
			if err := json.Indent(&b, document, "", "  "); err != nil {
				return err
			}
			document = b.Bytes()
		}
		_, err = cmd.OutOrStdout().Write(document)
		return err
	}
	return cmd
}

func (f *sbomFlags) arch() string {
	if len(f.archs) == 0 {
		return ""
	}
	return f.archs[0]
}

func (f *sbomFlags) document(cmd *cobra.Command, what string) ([]byte, error) {
	if ending := filepath.Ext(what); ending == ".yaml" || ending == ".yml" {
		return f.ofProfile(cmd, what)
	}
	client, err := f.registry.client(cmd)
	if err != nil {
		return nil, err
	}
	s, d, err := inspect.Open(cmd.Context(), what, client)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if f.arch() == "" && !f.scan {
		if document, err := f.attached(cmd.Context(), s, d.Digest); err != nil || document != nil {
			return document, err
		}
	}
	r, err := inspect.Inspect(cmd.Context(), s, d)
	if err != nil {
		return nil, err
	}
	arch := f.arch()
	if arch == "" {
		arch = runtime.GOARCH
	}
	var platforms []string
	for _, i := range r.Images {
		platforms = append(platforms, i.Platform)
		if len(r.Images) > 1 && f.arch() == "" && i.Platform != "linux/"+arch || f.arch() != "" && i.Platform != "linux/"+arch && !strings.HasPrefix(i.Platform, "linux/"+arch+"/") {
			continue
		}
		digest, err := v1.NewHash(i.Digest)
		if err != nil {
			return nil, err
		}
		if !f.scan {
			if document, err := f.attached(cmd.Context(), s, digest); err != nil || document != nil {
				return document, err
			}
		}
		return f.scanned(cmd.Context(), s, digest, what)
	}
	return nil, fmt.Errorf("%s has no image for linux/%s; it has %s", what, arch, strings.Join(platforms, ", "))
}

// attached is the SBOM that is attached to a digest; nil for none.
func (f *sbomFlags) attached(ctx context.Context, s inspect.Source, digest v1.Hash) ([]byte, error) {
	statements, err := inspect.Statements(ctx, s, digest)
	if err != nil {
		return nil, err
	}
	return pick(statements, sbom.Format(f.format), digest), nil
}

func pick(statements []image.Statement, format sbom.Format, digest v1.Hash) []byte {
	for _, said := range statements {
		if said.ArtifactType == format.MediaType() && said.Subject.Digest == digest {
			return said.Content
		}
	}
	return nil
}

// scanned is what syft finds in an image's files.
func (f *sbomFlags) scanned(ctx context.Context, s inspect.Source, digest v1.Hash, what string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "etcdimg-sbom-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	store, err := cache.Open(dir)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	raw, err := s.Manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("image %s: %w", digest, err)
	}
	raw, err = s.Blob(ctx, m.Config.Digest)
	if err != nil {
		return nil, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("image %s: its configuration: %w", digest, err)
	}
	var layers []io.Reader
	for _, l := range m.Layers {
		r, err := s.Layer(ctx, l.Digest)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		layers = append(layers, r)
	}
	tree, err := sbom.Unpack(ctx, store, layers...)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", digest, err)
	}
	facts := sbom.Facts{Name: baseName(what), Version: m.Annotations["org.opencontainers.image.version"], Arch: config.Architecture, Created: config.Created.Time, Tree: tree}
	return (&sbom.Maker{Store: store}).Document(ctx, sbom.Format(f.format), facts, digest.String())
}

// baseName is what a reference calls an image, without registry, tag and digest.
func baseName(reference string) string {
	base, _, _ := strings.Cut(path.Base(filepath.ToSlash(reference)), "@")
	base, _, _ = strings.Cut(base, ":")
	return strings.TrimSuffix(base, ".tar")
}

// ofProfile builds, and prints what is said about what was built.
func (f *sbomFlags) ofProfile(cmd *cobra.Command, path string) ([]byte, error) {
	p, _, err := f.load(cmd, path)
	if err != nil {
		return nil, err
	}
	format := sbom.Format(f.format)
	var document []byte
	_, err = f.run(cmd, p, []build.Describer{build.SBOM{Format: format}}, func(r *build.Result, _ build.Store) error {
		digest := r.Descriptor.Digest
		if f.arch() != "" {
			digest = r.Images[0].Descriptor.Digest
		}
		document = pick(r.Statements, format, digest)
		return nil
	})
	return document, err
}
