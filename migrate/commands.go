package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/etcdimg/etcdimg/migrate/internal/bundle"
	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/config"
	"github.com/etcdimg/etcdimg/migrate/internal/operator"
)

// errNoTarget says that the version to bring the data to is not there.
var errNoTarget = errors.New("is not bundled")

// A verb is what the program does beside bringing one directory to a version,
// by the first argument that asks for it. It parses its arguments, and gives
// what is to be done then; the command to become afterwards may be none.
type verb func(args []string, getenv func(string) string, stdout, stderr io.Writer) (do func(context.Context) error, become []string, err error)

func verbs() map[string]verb {
	return map[string]verb{"downgrade": downgrade, "prepare": prepare, "apply": apply}
}

// oneMember is what is done without any such argument.
func oneMember(args []string, getenv func(string) string, stdout, stderr io.Writer) (func(context.Context) error, []string, error) {
	c, err := config.Parse(args, getenv, bundledVersions, operator.Losses(), stdout)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) error {
		o, err := options(ctx, c, stdout, stderr)
		if err != nil {
			return err
		}
		if c.DryRun {
			return operator.DryRun(ctx, *o)
		}
		return operator.Run(ctx, *o)
	}, afterwards(c), nil
}

// afterwards is the command to become once all is done.
func afterwards(c *config.Config) []string {
	if c.DryRun {
		return nil
	}
	return c.Command
}

func downgrade(args []string, getenv func(string) string, stdout, stderr io.Writer) (func(context.Context) error, []string, error) {
	d, err := config.ParseDowngrade(args, getenv, bundledVersions, stdout)
	if err != nil {
		return nil, nil, err
	}
	log := logger(&config.Config{}, stderr)
	return func(ctx context.Context) error {
		b, err := bundle.Open(ctx, d.BinDir, d.Bundled)
		if err != nil {
			return err
		}
		ctl, err := operator.Ctl(b, d.To.Next(), d.Endpoints, d.TLS, d.User, d.Password)
		if err != nil {
			return err
		}
		c := &cluster.Client{Ctl: ctl, TLS: d.TLS, Say: func(line string) { log.Info(line) }}
		return c.Downgrade(ctx, d.To)
	}, nil, nil
}

func prepare(args []string, getenv func(string) string, stdout, stderr io.Writer) (func(context.Context) error, []string, error) {
	c, err := config.ParsePrepare(args, getenv, bundledVersions, operator.Losses(), stdout)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) error {
		o, err := options(ctx, c, stdout, stderr)
		if err != nil {
			return err
		}
		return operator.Prepare(ctx, *o, operator.Preparation{Sources: c.Sources, Choose: c.Choose, Out: c.Out})
	}, nil, nil
}

func apply(args []string, getenv func(string) string, stdout, stderr io.Writer) (func(context.Context) error, []string, error) {
	c, err := config.ParseApply(args, getenv, bundledVersions, operator.Losses(), stdout)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) error {
		o, err := options(ctx, c, stdout, stderr)
		if err != nil {
			return err
		}
		return operator.Apply(ctx, *o, operator.Application{File: c.From, Token: c.Token})
	}, afterwards(c), nil
}

// options are what the operator is told, once the bundle is open.
func options(ctx context.Context, c *config.Config, stdout, stderr io.Writer) (*operator.Options, error) {
	log := logger(c, stderr)
	b, err := bundle.Open(ctx, c.BinDir, c.Bundled)
	if err != nil {
		return nil, err
	}
	if !b.Has(c.Target.Version) {
		return nil, fmt.Errorf("etcd %s %w in %s; bundled are %v", c.Target.Version, errNoTarget, c.BinDir, b.Versions())
	}
	say := func(line string) { log.Info(line) }
	if c.DryRun {
		say = func(line string) { fmt.Fprintln(stdout, line) }
	}
	return &operator.Options{
		DataDir: c.DataDir, Target: c.Target, Current: c.Current,
		Bundle: b, InstallPlain: c.MoveBinaries,
		AcceptLoss: c.AcceptLoss, KeepBackups: c.KeepBackups, TTLDir: c.TTLDir, DryRun: c.DryRun,
		Name: c.Name, PeerURLs: c.PeerURLs, Port: c.Port, PeerPort: c.PeerPort, FixedPorts: c.PortsGiven,
		Cluster:   operator.Cluster{Members: c.Cluster, Peer: c.PeerTLS, Client: c.ClientTLS},
		ExtraArgs: c.ExtraArgs, Log: log, Say: say, ReadyIn: readyIn, StopIn: stopIn,
	}, nil
}
