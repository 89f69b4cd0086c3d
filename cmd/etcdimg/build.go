package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/publish"
	"github.com/etcdimg/etcdimg/pkg/registry"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// pipelineFlags are the flags of every command that builds images.
type pipelineFlags struct {
	inputFlags
	etcdVersion string
	revision    int
	archs       []string
	jobs        int
	cacheRepo   cacheRepoFlags
	registry    *registryFlags // how to reach the repository behind the cache
}

func (f *pipelineFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.archs, "arch", nil, "build for this architecture only, or for the machine's own: host (repeatable)")
	cmd.Flags().StringVar(&f.etcdVersion, "etcd-version", "", "the image's default etcd in place of the profile's; of several versions those of older lines stay")
	cmd.Flags().IntVar(&f.revision, "revision", 0, "revision in the tag in place of the profile's")
	cmd.Flags().IntVarP(&f.jobs, "jobs", "j", defaultJobs(), "how many compilers to run at once")
	f.addBuildFlags(cmd)
	f.cacheRepo.register(cmd)
}

// load reads a profile as the flags change it. The second result is the same
// with the revision that tags have: it decides no image, so no lock has it.
func (f *pipelineFlags) load(cmd *cobra.Command, path string) (p, tagged *profile.Profile, err error) {
	if p, err = loadProfile(path); err != nil {
		return nil, nil, err
	}
	if cmd.Flags().Changed("etcd-version") {
		if f.locked {
			return nil, nil, usagef(cmd, "--locked builds the version that the lock pins: leave --etcd-version out, or --locked")
		}
		if err := p.ChooseEtcd(f.etcdVersion, "--etcd-version "+f.etcdVersion); err != nil {
			return nil, nil, err
		}
		f.unlocked = "--etcd-version asks for something else"
	}
	other := *p
	if cmd.Flags().Changed("revision") {
		if f.revision < 0 {
			return nil, nil, usagef(cmd, "--revision %d is negative", f.revision)
		}
		other.Revision = f.revision
	}
	return p, &other, nil
}

// buildFlags are the flags of the build command.
type buildFlags struct {
	pipelineFlags
	registryFlags
	signFlags
	out     string
	tags    []string
	output  string
	sbomDir string
	bare    bool
}

func newBuildCommand() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build PROFILE",
		Short: "Build a profile's images into an OCI layout or an archive",
		Long: `Build a profile's images into an OCI layout or an archive.
` + profileArg + strings.Join(builtInProfiles(), ", ") + ".",
		Example: `  etcdimg build hardened
  etcdimg build configs/hardened.yaml
  etcdimg build configs/hardened.yaml --arch host -o etcd.tar && docker load -i etcd.tar`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVarP(&f.out, "out", "o", "", "where to write: a directory (OCI layout), or a file that ends in .tar (for docker load, podman load, skopeo) (default dist/<profile>)")
	f.pipelineFlags.register(cmd)
	f.registryFlags.register(cmd)
	f.pipelineFlags.registry = &f.registryFlags
	f.signFlags.register(cmd)
	f.registerVEX(cmd)
	cmd.Flags().StringSliceVarP(&f.tags, "tag", "t", nil, "TAG or NAME:TAG in place of the profile's tag (repeatable)")
	cmd.Flags().StringVar(&f.sbomDir, "sbom-dir", "", "write SBOMs and provenance into this directory too, as files")
	cmd.Flags().BoolVar(&f.bare, "bare", false, "leave SBOMs and provenance out of the layout, for tools that take one of a single entry (crane push)")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.output = *output
		if err := checkOutput(cmd, f.output, "text", "json"); err != nil {
			return err
		}
		return runBuild(cmd, args[0], f)
	}
	return cmd
}

// defaultJobs keeps a linker, which uses one core, and a compiler busy beside
// each other without holding more programs in memory than that needs.
func defaultJobs() int { return max(2, runtime.GOMAXPROCS(0)/4) }

// buildReport is what build prints with --output json.
type buildReport struct {
	*build.Result
	Output string   `json:"output"`
	Tags   []string `json:"tags"`
}

func runBuild(cmd *cobra.Command, path string, f buildFlags) error {
	p, tagged, err := f.load(cmd, path)
	if err != nil {
		return err
	}
	name, err := imageName(cmd, tagged, f.tags)
	if err != nil {
		return err
	}
	if f.out == "" {
		base := filepath.Base(path)
		f.out = filepath.Join("dist", strings.TrimSuffix(base, filepath.Ext(base)))
	}
	archive := strings.HasSuffix(f.out, ".tar")
	if f.wanted() && (archive || f.bare) {
		return usagef(cmd, "signatures go into a layout: leave --bare out, and name no archive with -o, or sign later with etcdimg sign")
	}
	signing, err := f.signing(cmd)
	if err != nil {
		return err
	}
	var describe []build.Describer
	if f.sbomDir != "" || !f.bare && !archive {
		describe = describers()
	}
	result, err := f.run(cmd, p, describe, func(r *build.Result, c build.Store) error {
		if err := writeStatements(f.sbomDir, r.Statements); err != nil {
			return err
		}
		if archive {
			return image.WriteArchive(cmd.Context(), f.out, r.Index, name)
		}
		if f.bare {
			return image.WriteLayout(cmd.Context(), f.out, r.Index, name, c)
		}
		return image.WriteLayout(cmd.Context(), f.out, r.Index, name, c, r.Statements...)
	})
	if err != nil {
		return err
	}
	if signing != nil {
		if err := signLayout(cmd.Context(), signing, f.out, name.Repository, result); err != nil {
			return err
		}
	}
	return printBuild(cmd.OutOrStdout(), buildReport{result, f.out, name.Tags}, f.output)
}

// signLayout signs what was built in the layout that it was written to.
func signLayout(ctx context.Context, signing *publish.Signing, dir, identity string, r *build.Result) error {
	place, err := sign.Layout(dir, identity)
	if err != nil {
		return err
	}
	digests := []v1.Descriptor{r.Descriptor}
	for _, i := range r.Images {
		digests = append(digests, i.Descriptor)
	}
	signing.Statements = r.Statements
	_, err = signing.In(ctx, place, digests)
	return err
}

// run builds a profile's images, has them described, and hands them to write,
// which may be called more than once.
func (f pipelineFlags) run(cmd *cobra.Command, p *profile.Profile, describe []build.Describer, write func(*build.Result, build.Store) error) (*build.Result, error) {
	archs, err := chooseArchs(cmd, p, f.archs)
	if err != nil {
		return nil, err
	}
	epoch, err := sourceDateEpoch()
	if err != nil {
		return nil, usagef(cmd, "%w", err)
	}
	l, err := f.findLock(p, archs)
	if err != nil {
		return nil, err
	}
	c, err := openCache()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	quiet, _ := cmd.Flags().GetBool("quiet")
	show := newProgress(cmd.ErrOrStderr(), quiet)
	defer show.close()
	store, repo, err := f.cacheRepo.open(cmd, c, f.offline, func() (*registry.Client, error) { return f.registry.client(cmd) }, show)
	if err != nil {
		return nil, err
	}
	defer tellCacheRepo(show, repo)
	options := f.options(cmd, store, show)
	options.Jobs, options.Epoch, options.Describers = f.jobs, epoch, describe
	builder, err := build.New(options)
	if err != nil {
		return nil, err
	}
	if l, err = f.inputs(cmd.Context(), builder, p, l, archs, show); err != nil {
		return nil, f.remedy(err, p)
	}
	result, err := builder.Build(cmd.Context(), p, l, archs, func(r *build.Result) error { return write(r, store) })
	return result, f.remedy(err, p)
}

func printBuild(w io.Writer, r buildReport, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, img := range r.Images {
		fmt.Fprintf(w, "%-8s %s  %5.1f MB in %d layers\n", img.Arch, img.Digest, float64(img.Size())/1e6, len(img.Layers))
	}
	fmt.Fprintf(w, "%-8s %s  %s:%s\n", "index", r.Digest, r.Output, strings.Join(r.Tags, ","))
	return nil
}

func chooseArchs(cmd *cobra.Command, p *profile.Profile, names []string) ([]profile.Arch, error) {
	if len(names) == 0 {
		return p.Archs, nil
	}
	wanted := map[profile.Arch]bool{}
	for _, name := range names {
		arch, err := profile.ParseArch(name)
		if err != nil {
			return nil, usagef(cmd, "--arch %s: %w", name, err)
		}
		wanted[arch] = true
	}
	// Whatever the order of the flags, the images come in the profile's.
	var archs []profile.Arch
	for _, arch := range p.Archs {
		if wanted[arch] {
			archs = append(archs, arch)
			delete(wanted, arch)
		}
	}
	for _, arch := range profile.Archs() {
		if wanted[arch] {
			return nil, usagef(cmd, "--arch %s: the profile has archs %v", arch, p.Archs)
		}
	}
	return archs, nil
}

func imageName(cmd *cobra.Command, p *profile.Profile, tags []string) (image.Name, error) {
	name := image.Name{Repository: p.Name}
	if len(tags) == 0 {
		tag, err := p.ImageTag()
		if err != nil {
			return name, err
		}
		name.Tags = []string{tag}
	}
	repository := ""
	for _, t := range tags {
		tag := t
		if i := strings.LastIndexByte(t, ':'); i >= 0 {
			if repository != "" && repository != t[:i] {
				return name, usagef(cmd, "--tag %s: all tags of one build need the same name, and another one has %s", t, repository)
			}
			repository, tag = t[:i], t[i+1:]
			name.Repository = repository
		}
		if !profile.ValidTag(tag) {
			return name, usagef(cmd, "--tag %s: %q is no tag: want letters, digits, underscores, dots and dashes, at most 128", t, tag)
		}
		name.Tags = append(name.Tags, tag)
	}
	return name, nil
}
