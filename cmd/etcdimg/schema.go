package main

import (
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

// newSchemaCommand prints the JSON schema of profiles.
func newSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of profiles, for editors",
		Long: `Print the JSON schema (draft 2020-12) of profiles. An editor that speaks to
yaml-language-server takes it from a first line such as

  # yaml-language-server: $schema=schema.json`,
		Example: "  etcdimg schema > schema.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(profile.Schema())
			return err
		},
	}
}
