package config

import (
	"flag"
	"io"
)

// form is one of the command lines that share most flags.
type form struct {
	name, help string
	sources    bool // takes arguments, and no data directory of its own
	flags      func(*flag.FlagSet, *Config)
	check      func(*Config) []string
}

var oneMember = form{
	name: "migrate",
	help: `migrate brings an etcd data directory from the version that wrote it to the version that will read it.

  migrate --data-dir=DIR --target-version=3.6.16 --target-storage=etcd3 [-- COMMAND …]

For clusters, see also: migrate downgrade -h, migrate prepare -h, migrate apply -h`,
	flags: func(*flag.FlagSet, *Config) {},
	check: func(*Config) []string { return nil },
}

var forAll = form{
	name: "migrate prepare",
	help: `migrate prepare makes the one database that all members of a cluster are then made from (migrate apply), where they can not be moved one by one.
Its sources are the data directories of the stopped members, or databases that "etcdctl snapshot save" wrote; they are not changed.

  migrate prepare --target-version=3.4.26 --target-storage=etcd3 --out=FILE SOURCE…`,
	sources: true,
	flags: func(f *flag.FlagSet, c *Config) {
		f.StringVar(&c.Out, "out", "", "file to write, and FILE.json beside it; required")
		f.StringVar(&c.Choose, "choose", "", "the source to take, when they differ")
	},
	check: func(c *Config) (wrong []string) {
		if c.Out == "" {
			wrong = append(wrong, "--out is required")
		}
		if len(c.Sources) == 0 {
			wrong = append(wrong, "name the data directories of the stopped members, or saved databases")
		}
		return wrong
	},
}

var fromOne = form{
	name: "migrate apply",
	help: `migrate apply makes one member of a new cluster from the database that migrate prepare wrote. Run it on every member, with the same file.

  migrate apply --from=FILE --data-dir=DIR --target-version=3.4.26 --target-storage=etcd3 --name=NAME [--initial-cluster=NAME=URL,…] [-- COMMAND …]`,
	flags: func(f *flag.FlagSet, c *Config) {
		f.StringVar(&c.From, "from", "", "file that migrate prepare wrote; required")
		f.StringVar(&c.Token, "initial-cluster-token", "", "token of the new cluster, the same on every member (default: of the file's digest)")
	},
	check: func(c *Config) (wrong []string) {
		if c.From == "" {
			wrong = append(wrong, "--from is required")
		}
		return wrong
	},
}

// ParsePrepare reads the arguments after "prepare", as Parse does.
func ParsePrepare(args []string, getenv func(string) string, compiled string, losses []string, w io.Writer) (*Config, error) {
	return parse(forAll, args, getenv, compiled, losses, w)
}

// ParseApply reads the arguments after "apply", as Parse does.
func ParseApply(args []string, getenv func(string) string, compiled string, losses []string, w io.Writer) (*Config, error) {
	return parse(fromOne, args, getenv, compiled, losses, w)
}
