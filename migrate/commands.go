package main

import (
	"context"
	"io"
	"os/signal"
	"syscall"

	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/config"
)

// commands are what the program does beside bringing one directory to a
// version, by the first argument that asks for it.
var commands = map[string]func(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error{
	"downgrade": downgrade,
}

// command runs one of the commands until it ends or the operator is told to stop.
func command(name string, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return commands[name](ctx, args, getenv, stdout, stderr)
}

func downgrade(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	d, err := config.ParseDowngrade(args, getenv, stdout)
	if err != nil {
		return err
	}
	log := logger(&config.Config{}, stderr)
	c := &cluster.Client{
		Endpoints: d.Endpoints, TLS: d.TLS, User: d.User, Password: d.Password,
		Say: func(line string) { log.Info(line) },
	}
	return c.Downgrade(ctx, d.To)
}
