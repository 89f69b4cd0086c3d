// Command release makes a release of etcdimg itself: a static binary for every
// platform, an SBOM of each, the provenance of all, and the list of their sums,
// signed. docs/release.md describes the result.
//
// Binaries are compiled as "go install …/cmd/etcdimg@VERSION" compiles them: out
// of the module's archive, which is made of a commit. So the same version has
// the same bytes wherever it is compiled, and whoever doubts them needs nothing
// but Go. It must not know how images are built.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/mod/semver"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

const (
	modulePath = "github.com/etcdimg/etcdimg"
	command    = modulePath + "/cmd/etcdimg"
	program    = "etcdimg"
)

// platforms are those that a release is for: GOOS/GOARCH.
var platforms = []string{
	"linux/amd64", "linux/arm64", "linux/ppc64le", "linux/s390x",
	"darwin/amd64", "darwin/arm64",
}

// options are what the command line says.
type options struct {
	repo      string // the checkout
	version   string // v1.2.3
	revision  string // the commit that is released
	out       string // directory
	platforms []string

	signOnly bool   // sign what is in out
	key      string // file with a private key
	token    string // file with an identity token, for Fulcio
	services sign.Services
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(2)
	}
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&o.repo, "repo", ".", "the checkout of etcdimg")
	flags.StringVar(&o.version, "version", "", "the version to release: v1.2.3")
	flags.StringVar(&o.revision, "revision", "HEAD", "the commit to release; changes that are in no commit are not in the release")
	flags.StringVar(&o.out, "out", filepath.Join("dist", "release"), "the directory to make; a release that is there is replaced")
	only := flags.String("platforms", strings.Join(platforms, ","), "for which, GOOS/GOARCH")
	flags.BoolVar(&o.signOnly, "sign-only", false, "sign the release that is in --out, and compile nothing")
	flags.StringVar(&o.key, "key", "", "sign with the private key in this file; its password is in $COSIGN_PASSWORD")
	flags.StringVar(&o.services.Fulcio, "fulcio-url", "", "sign with a key for this once, for which the certificate authority at this address vouches")
	flags.StringVar(&o.token, "identity-token", "", "file with the token (OIDC) for the certificate authority, in place of $SIGSTORE_ID_TOKEN")
	flags.StringVar(&o.services.Timestamp, "timestamp-url", "", "have signatures stamped by the timestamp authority at this address")
	flags.StringVar(&o.services.Rekor, "rekor-url", "", "write signatures to the transparency log at this address")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q: there are only flags", flags.Arg(0))
	}
	o.platforms = strings.Split(*only, ",")
	return o, o.check()
}

// check tells of mistakes before anything is compiled.
func (o *options) check() error {
	switch {
	case o.key != "" && o.services.Fulcio != "":
		return errors.New("--key and --fulcio-url: sign with one of them")
	case o.signOnly && o.key == "" && o.services.Fulcio == "":
		return errors.New("--sign-only: with what? name a key with --key, or a certificate authority with --fulcio-url")
	case o.signOnly:
		return nil
	case o.services.Fulcio != "":
		return errors.New("--fulcio-url: no identity token lives as long as the compiler works: make the release first, then sign it with --sign-only")
	}
	if !semver.IsValid(o.version) || semver.Canonical(o.version) != o.version {
		return fmt.Errorf("--version %q is no version of a Go module: write vMAJOR.MINOR.PATCH, as in v0.1.0", o.version)
	}
	if major := semver.Major(o.version); major != "v0" && major != "v1" {
		return fmt.Errorf("--version %s: the module %s is of version 0 or 1: one of %s has /%s in its path", o.version, modulePath, major, major)
	}
	for _, p := range o.platforms {
		if !slices.Contains(platforms, p) {
			return fmt.Errorf("--platforms %s: want some of %s", p, strings.Join(platforms, ","))
		}
	}
	return nil
}

// run makes the release in a directory of its own, and puts it in its place
// when it is whole.
func (o *options) run(ctx context.Context) error {
	signer, err := o.signer(ctx)
	if err != nil {
		return err
	}
	if o.signOnly {
		r := &release{options: *o, dir: o.out}
		if err := r.checkSums(); err != nil {
			return err
		}
		return r.sign(ctx, signer)
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o777); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(o.out), ".release-")
	if err != nil {
		return err
	}
	defer removeAll(work)
	r := &release{options: *o, dir: filepath.Join(work, "release"), work: work}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"making the module's archive", r.archive},
		{"compiling", r.compile},
		{"checking what was compiled", r.inspect},
		{"making the SBOMs", r.sboms},
		{"making the provenance", r.provenance},
		{"listing the sums", r.sums},
		{"signing", func(ctx context.Context) error { return r.sign(ctx, signer) }},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	if err := os.RemoveAll(o.out); err != nil {
		return err
	}
	if err := os.Rename(r.dir, o.out); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(o.out, sumsFile))
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}

// removeAll removes a directory with a module cache in it, which is read-only.
func removeAll(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return err
	})
	_ = os.RemoveAll(dir)
}
