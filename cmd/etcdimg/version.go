package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// version is what etcdimg knows of itself.
type version struct {
	Version       string `json:"version"`
	Commit        string `json:"commit,omitempty"`
	Go            string `json:"go"`
	FormatVersion int    `json:"formatVersion"`
}

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of etcdimg",
		Args:  cobra.NoArgs,
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(cmd, *output, "text", "json"); err != nil {
			return err
		}
		tool := thisTool()
		v := version{Version: tool.Version, Commit: tool.Commit, Go: runtime.Version(), FormatVersion: lock.FormatVersion}
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "etcdimg %s (%s, image format %d)\n", v.Version, v.Go, v.FormatVersion)
		return nil
	}
	return cmd
}
