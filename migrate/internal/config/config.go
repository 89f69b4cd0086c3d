// Package config reads the operator's flags and environment, as people know
// them of the published operator: a flag beats the environment, the environment
// beats the default, and an empty variable counts as unset.
//
// It must not know files: nothing is looked up on disk here.
package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// ErrUsage is in every error about the command line or the environment.
var ErrUsage = errors.New("usage")

// Config is what was asked for, complete and checked.
type Config struct {
	Name           string
	DataDir        string
	Port, PeerPort int
	PortsGiven     bool
	PeerURLs       []string         // of --initial-advertise-peer-urls
	Cluster        []cluster.Member // of --initial-cluster
	PeerTLS        cluster.Files
	ClientTLS      cluster.Files
	BinDir         string
	Bundled        []version.Version // nil: find out
	Target         version.Stamp
	Current        version.Stamp // zero: read version.txt
	DataPrefix     string
	TTLDir         string
	ExtraArgs      []string
	MoveBinaries   bool
	AcceptLoss     []string
	KeepBackups    int
	DryRun         bool
	LogFormat      string
	Verbose        bool
	Sources        []string // of migrate prepare
	Choose, Out    string   // of migrate prepare
	From, Token    string   // of migrate apply
	Command        []string // to become, once all is done
}

// Defaults of the published operator.
const (
	defaultBinDir = "/usr/local/bin"
	defaultPrefix = "/registry"
)

// ports are the defaults; a directory whose name says "event" has its own, as
// clusters for events run beside the main one.
var ports = map[bool][2]int{false: {18629, 2380}, true: {18631, 2381}}

// Parse reads the arguments after the program's name. compiled are the versions
// that the program was built to bundle, and losses the names that
// --accept-loss takes. Help goes to w, and is flag.ErrHelp.
func Parse(args []string, getenv func(string) string, compiled string, losses []string, w io.Writer) (*Config, error) {
	return parse(oneMember, args, getenv, compiled, losses, w)
}

func parse(kind form, args []string, getenv func(string) string, compiled string, losses []string, w io.Writer) (*Config, error) {
	c := &Config{}
	if i := slices.Index(args, "--"); i >= 0 {
		c.Command = args[i+1:]
		if len(c.Command) == 0 {
			return nil, fmt.Errorf("%w: no command after --", ErrUsage)
		}
		args = args[:i]
	}
	env := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	f := flag.NewFlagSet(kind.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	var listenClient, listenPeer, advertisePeer, initialCluster, bundled, target, storage, current, extra, accept string
	f.StringVar(&c.Name, "name", env("ETCD_NAME"), "name of the member ($ETCD_NAME, else etcd-$ETCD_HOSTNAME, else etcd-$HOSTNAME)")
	f.StringVar(&c.DataDir, "data-dir", env("DATA_DIRECTORY"), "etcd's data directory ($DATA_DIRECTORY); required")
	f.IntVar(&c.Port, "port", 0, "client port of the servers that steps run, on loopback only (default 18629, or 18631 for events)")
	f.IntVar(&c.PeerPort, "peer-port", 0, "their peer port (default 2380, or 2381 for events)")
	f.StringVar(&listenClient, "listen-client-urls", env("LISTEN_CLIENT_URLS"), "accepted for compatibility: steps listen on loopback only ($LISTEN_CLIENT_URLS)")
	f.StringVar(&listenPeer, "listen-peer-urls", env("LISTEN_PEER_URLS"), "accepted for compatibility: steps listen on loopback only ($LISTEN_PEER_URLS)")
	f.StringVar(&advertisePeer, "initial-advertise-peer-urls", env("INITIAL_ADVERTISE_PEER_URLS"), "peer URLs of a member whose data does not name them ($INITIAL_ADVERTISE_PEER_URLS)")
	f.StringVar(&initialCluster, "initial-cluster", env("INITIAL_CLUSTER"), "NAME=URL,… of the cluster, of which this member's are taken when its data does not name them ($INITIAL_CLUSTER)")
	f.StringVar(&c.BinDir, "bin-dir", defaultBinDir, "where etcd-VERSION, etcdctl-VERSION and etcdutl-VERSION are")
	f.StringVar(&bundled, "bundled-versions", compiled, "comma-separated versions in the bin-dir (default: those that are there)")
	f.StringVar(&target, "target-version", env("TARGET_VERSION"), "the version that will read the data ($TARGET_VERSION); required")
	f.StringVar(&storage, "target-storage", env("TARGET_STORAGE"), "etcd2 or etcd3 ($TARGET_STORAGE); required")
	f.StringVar(&current, "current-version", "", "VERSION/STORAGE that the data is at, whatever version.txt says")
	f.StringVar(&c.DataPrefix, "etcd-data-prefix", orDefault(env("ETCD_DATA_PREFIX"), defaultPrefix), "where the user's keys are ($ETCD_DATA_PREFIX)")
	f.StringVar(&c.TTLDir, "ttl-keys-directory", "", "v2 directory whose keys get a lease of an hour as v3 keys (default PREFIX/events)")
	f.StringVar(&extra, "etcd-server-extra-args", env("ETCD_CREDS"), "more flags for the servers that steps run ($ETCD_CREDS)")
	f.StringVar(&accept, "accept-loss", "", "comma-separated losses to accept: "+strings.Join(losses, ", "))
	f.IntVar(&c.KeepBackups, "keep-backups", 1, "how many directories from before a migration to keep")
	f.BoolVar(&c.DryRun, "dry-run", false, "say what would be done, and stop")
	f.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	f.BoolVar(&c.Verbose, "verbose", false, "log more")
	tlsFlags(f, c, env)
	kind.flags(f, c)
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(w, "%s\n\nFlags:\n", kind.help)
		f.SetOutput(w)
		f.PrintDefaults()
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUsage, err)
	}
	var wrong []string
	bad := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	if c.Sources = f.Args(); f.NArg() > 0 && !kind.sources {
		bad("%q is no flag; a command to run afterwards stands after --", f.Arg(0))
	}
	for _, problem := range kind.check(c) {
		bad("%s", problem)
	}
	if c.DataDir == "" && !kind.sources {
		bad("--data-dir or $DATA_DIRECTORY is required")
	}
	var err error
	switch {
	case target == "":
		bad("--target-version or $TARGET_VERSION is required")
	default:
		if c.Target.Version, err = version.Parse(target); err != nil {
			bad("--target-version: %v", err)
		}
	}
	switch {
	case storage == "":
		bad("--target-storage or $TARGET_STORAGE is required")
	default:
		if c.Target.Storage, err = version.ParseStorage(storage); err != nil {
			bad("--target-storage: %v", err)
		}
	}
	if current != "" {
		if c.Current, err = version.ParseStamp(current); err != nil {
			bad("--current-version: %v", err)
		}
	}
	for _, s := range split(bundled) {
		v, err := version.Parse(s)
		if err != nil {
			bad("--bundled-versions: %v", err)
			continue
		}
		c.Bundled = append(c.Bundled, v)
	}
	if c.Name == "" {
		for _, n := range []string{"ETCD_HOSTNAME", "HOSTNAME"} {
			if h := getenv(n); h != "" && c.Name == "" {
				c.Name = "etcd-" + h
			}
		}
	}
	if c.Name == "" && !kind.sources {
		bad("--name, $ETCD_NAME, $ETCD_HOSTNAME or $HOSTNAME is required")
	}
	c.PortsGiven = c.Port != 0 || c.PeerPort != 0
	def := ports[strings.Contains(c.DataDir, "event")]
	c.Port, c.PeerPort = orDefault(c.Port, def[0]), orDefault(c.PeerPort, def[1])
	for _, p := range []int{c.Port, c.PeerPort} {
		if p < 1 || p > 65535 {
			bad("%d is no port", p)
		}
	}
	for _, x := range []struct{ name, value string }{
		{"--listen-client-urls", listenClient}, {"--listen-peer-urls", listenPeer}, {"--initial-advertise-peer-urls", advertisePeer},
	} {
		if err := checkURLs(x.value); err != nil {
			bad("%s: %v", x.name, err)
		}
	}
	c.PeerURLs = split(advertisePeer)
	for _, s := range split(initialCluster) {
		name, u, ok := strings.Cut(s, "=")
		if !ok || checkURLs(u) != nil {
			bad("--initial-cluster: %q is not NAME=URL", s)
			continue
		}
		c.member(name, u)
		if name == c.Name && advertisePeer == "" {
			c.PeerURLs = append(c.PeerURLs, u)
		}
	}
	if len(c.PeerURLs) == 0 {
		c.PeerURLs = []string{"http://localhost:" + strconv.Itoa(c.PeerPort)}
	}
	c.ExtraArgs = strings.Fields(extra)
	peer, client := cluster.ServerFiles(c.ExtraArgs)
	c.PeerTLS, c.ClientTLS = c.PeerTLS.Or(peer), c.ClientTLS.Or(client)
	for _, a := range c.ExtraArgs {
		if n := strings.TrimLeft(a, "-"); n == "wal-dir" || strings.HasPrefix(n, "wal-dir=") {
			bad("--etcd-server-extra-args: a log outside the data directory (--wal-dir) is not supported: move it into member/wal first")
		}
	}
	c.TTLDir = orDefault(c.TTLDir, strings.TrimSuffix(c.DataPrefix, "/")+"/events")
	c.AcceptLoss = split(accept)
	for _, a := range c.AcceptLoss {
		if !slices.Contains(losses, a) {
			bad("--accept-loss: %q is none of %s", a, strings.Join(losses, ", "))
		}
	}
	if c.KeepBackups < 0 {
		bad("--keep-backups: %d is negative", c.KeepBackups)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("--log-format: %q is neither text nor json", c.LogFormat)
	}
	c.MoveBinaries = getenv("DO_NOT_MOVE_BINARIES") != "true"
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrUsage, strings.Join(wrong, "; "))
	}
	return c, nil
}

func orDefault[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

func split(s string) []string {
	var all []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

func checkURLs(list string) error {
	for _, s := range split(list) {
		u, err := url.Parse(s)
		if err != nil {
			return err
		}
		if !slices.Contains([]string{"http", "https", "unix", "unixs"}, u.Scheme) {
			return fmt.Errorf("%q is no URL of etcd's", s)
		}
		if _, _, err := net.SplitHostPort(u.Host); err != nil {
			return fmt.Errorf("%q: %v", s, err)
		}
	}
	return nil
}
