package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Downgrade is what "migrate downgrade" was asked for.
type Downgrade struct {
	Endpoints      []string
	To             version.Line
	TLS            cluster.Files
	User, Password string
	BinDir         string
	Bundled        []version.Version // nil: find out
}

// ParseDowngrade reads the arguments after "downgrade". Help goes to w, and is
// flag.ErrHelp.
func ParseDowngrade(args []string, getenv func(string) string, compiled string, w io.Writer) (*Downgrade, error) {
	env := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	c := &Config{}
	f := flag.NewFlagSet("migrate downgrade", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	endpoints := f.String("endpoints", env("ETCDCTL_ENDPOINTS"), "comma-separated client URLs of the running cluster ($ETCDCTL_ENDPOINTS); required")
	target := f.String("target-version", env("TARGET_VERSION"), "the version to go down to ($TARGET_VERSION); required")
	user := f.String("user", env("ETCDCTL_USER"), "NAME or NAME:PASSWORD of a user with the role root, where users are asked for ($ETCDCTL_USER, $ETCDCTL_PASSWORD)")
	passwordFile := f.String("password-file", "", "file that holds the user's password")
	d := &Downgrade{}
	f.StringVar(&d.BinDir, "bin-dir", defaultBinDir, "where etcdctl-VERSION is")
	bundled := f.String("bundled-versions", compiled, "comma-separated versions in the bin-dir (default: those that are there)")
	tlsFlags(f, c, env)
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(w, "migrate downgrade lets a running cluster of 3.6 or 3.7 agree on the minor below, after which its members may be swapped one by one.")
		fmt.Fprintln(w, "\n  migrate downgrade --endpoints=http://10.0.0.1:2379 --target-version=3.6.16\n\nFlags:")
		f.SetOutput(w)
		f.PrintDefaults()
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUsage, err)
	}
	d.TLS = c.ClientTLS
	for _, s := range split(*bundled) {
		v, err := version.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("%w: --bundled-versions: %v", ErrUsage, err)
		}
		d.Bundled = append(d.Bundled, v)
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%w: %q is no flag", ErrUsage, f.Arg(0))
	}
	for _, e := range split(*endpoints) {
		if !strings.Contains(e, "://") {
			e = "http://" + e // as etcdctl takes them
		}
		d.Endpoints = append(d.Endpoints, e)
	}
	if err := checkURLs(strings.Join(d.Endpoints, ",")); err != nil || len(d.Endpoints) == 0 {
		return nil, fmt.Errorf("%w: --endpoints are required, as URLs with ports (%v)", ErrUsage, err)
	}
	to, err := version.ParseLine(*target)
	if err != nil {
		return nil, fmt.Errorf("%w: --target-version: %v", ErrUsage, err)
	}
	d.To = to
	d.User, d.Password, _ = strings.Cut(*user, ":")
	if p := env("ETCDCTL_PASSWORD"); p != "" {
		d.Password = p
	}
	if *passwordFile != "" {
		b, err := os.ReadFile(*passwordFile)
		if err != nil {
			return nil, err
		}
		d.Password = strings.TrimRight(string(b), "\n")
	}
	return d, nil
}
