package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

// newShowConfigCommand prints a profile as etcdimg understands it.
func newShowConfigCommand() *cobra.Command {
	forms := map[string]func(*profile.Profile) ([]byte, error){
		"yaml": (*profile.Profile).YAML,
		"json": (*profile.Profile).JSON,
		"tag": func(p *profile.Profile) ([]byte, error) {
			tag, err := p.ImageTag()
			return []byte(tag + "\n"), err
		},
	}
	cmd := &cobra.Command{
		Use:   "show-config PROFILE",
		Short: "Print a profile as resolved: includes merged, defaults filled in",
		Long: `Print a profile as resolved: its includes merged and its defaults filled in.
The result is a profile itself, and builds the same image from the same directory.
` + profileArg + strings.Join(builtInProfiles(), ", ") + ".",
		Example: "  etcdimg show-config hardened\n  etcdimg show-config configs/hardened.yaml",
		Args:    cobra.ExactArgs(1),
	}
	output := outputFlag(cmd, "yaml", "json", "tag")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(cmd, *output, "yaml", "json", "tag"); err != nil {
			return err
		}
		p, err := loadProfile(args[0])
		if err != nil {
			return err
		}
		text, err := forms[*output](p)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	return cmd
}
