package main

import (
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/registry"
)

// registryFlags are the flags of every command that talks to a registry.
type registryFlags struct {
	insecure string
	ca       string
}

func (f *registryFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.insecure, "insecure", "", "let registries on this machine speak plain HTTP or show any certificate; --insecure=force lets all of them")
	cmd.Flags().Lookup("insecure").NoOptDefVal = "loopback"
	cmd.Flags().StringVar(&f.ca, "registry-ca", "", "file with certificates (PEM) to trust beside the system's")
}

func (f *registryFlags) client(cmd *cobra.Command) (*registry.Client, error) {
	degrees := map[string]registry.Insecure{"": registry.Never, "loopback": registry.Loopback, "force": registry.Anywhere}
	degree, ok := degrees[f.insecure]
	if !ok {
		return nil, usagef(cmd, "--insecure=%s: want --insecure or --insecure=force", f.insecure)
	}
	return registry.New(registry.Options{
		CAFile:   f.ca,
		Insecure: degree,
		Log:      newLogger(cmd, cmd.ErrOrStderr()),
	})
}
