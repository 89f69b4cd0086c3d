package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/inspect"
)

func newInspectCommand() *cobra.Command {
	var f registryFlags
	cmd := &cobra.Command{
		Use:   "inspect IMAGE|LAYOUT|ARCHIVE",
		Short: "Tell what an image is, of what it was made, and who signed it",
		Long: `Tell what an image is: for which platforms, of which layers, how it starts; of
which etcd versions, toolchain, edits and packages it was made, as its
provenance says; what else is said about it, and which signatures it has. None of
that is verified: see etcdimg verify.

IMAGE is a name in a registry; LAYOUT a directory with an OCI layout, with :TAG
behind where it has several images; ARCHIVE a file that build -o FILE.tar wrote.`,
		Example: `  etcdimg inspect registry.example/etcd:3.6.16-0
  etcdimg inspect dist/hardened --output json`,
		Args: cobra.ExactArgs(1),
	}
	f.register(cmd)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(cmd, *output, "text", "json"); err != nil {
			return err
		}
		client, err := f.client(cmd)
		if err != nil {
			return err
		}
		s, d, err := inspect.Open(cmd.Context(), args[0], client)
		if err != nil {
			return err
		}
		defer s.Close()
		r, err := inspect.Inspect(cmd.Context(), s, d)
		if err != nil {
			return err
		}
		r.Reference = args[0]
		if *output == "json" {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(r)
		}
		printInspection(cmd.OutOrStdout(), r)
		return nil
	}
	return cmd
}

// printInspection tells a report on one screen.
func printInspection(w io.Writer, r *inspect.Report) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("image", "%s", r.Reference)
	if title := r.Title(); title != "" {
		row("title", "%s", title)
	}
	what := "one image"
	if r.IsIndex() {
		what = plural(len(r.Images), "image")
	}
	row("digest", "%s (%s)", r.Digest, what)
	if len(r.Images) > 0 {
		row("created", "%s", r.Images[0].Created.Format(time.RFC3339))
		row("starts", "%s", starts(r.Images[0]))
	}
	if r.Made != nil {
		printInputs(row, r.Made)
	}
	for _, img := range r.Images {
		row("platform", "%-13s %s %7.1f MB  %s", img.Platform, short(img.Digest), megabytes(img.Size()), layers(img))
	}
	printSaid(row, r)
	printSigned(row, r)
}

func starts(i inspect.Image) string {
	words := strings.Join(append(slices.Clone(i.Entrypoint), i.Cmd...), " ")
	s := cmp.Or(words, "nothing by itself") + " as " + cmp.Or(i.User, "root")
	if i.WorkDir != "" {
		s += " in " + i.WorkDir
	}
	if len(i.Ports) > 0 {
		s += "; ports " + strings.Join(i.Ports, " ")
	}
	if len(i.Volumes) > 0 {
		s += "; volumes " + strings.Join(i.Volumes, " ")
	}
	return s
}

func layers(i inspect.Image) string {
	var all []string
	for n, l := range i.Layers {
		all = append(all, fmt.Sprintf("%s %.1f", cmp.Or(l.Contents, fmt.Sprintf("layer %d", n+1)), megabytes(l.Size)))
	}
	const most = 12
	if len(all) > most {
		all = append(all[:most:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(all, ", ")
}

func printInputs(row func(string, string, ...any), m *inspect.Made) {
	for _, e := range m.Etcd {
		var how []string
		if e.Toolchain != "" {
			how = append(how, fmt.Sprintf("compiled by %s from %s", e.Toolchain, plural(e.Modules, "module")))
		}
		if len(e.Release) > 0 {
			how = append(how, "official release for "+strings.Join(e.Release, ", "))
		}
		row("etcd", "%-8s %s", e.Version, strings.Join(how, "; "))
		for _, edit := range e.Edits {
			var files []string
			for _, f := range edit.Files {
				files = append(files, f.Path+" "+short(f.After))
			}
			row("  edited", "%s@%s: %s (%s)", edit.Module, edit.Version, edit.Reason, strings.Join(files, ", "))
		}
	}
	if len(m.Packages) > 0 {
		var names []string
		for _, p := range m.Packages {
			names = append(names, p.Name+" "+p.Version)
		}
		const most = 8
		if len(names) > most {
			names = append(names[:most:most], fmt.Sprintf("and %d more", len(names)-most))
		}
		row("packages", "%d: %s", len(m.Packages), strings.Join(names, ", "))
	}
	if len(m.Skipped) > 0 {
		row("without", "%s, which could not be verified", strings.Join(m.Skipped, ", "))
	}
	row("built by", "etcdimg %s, image format %d", m.Builder["etcdimg"], m.FormatVersion)
}

// printSaid tells which kinds of statements there are, and about how many
// digests.
func printSaid(row func(string, string, ...any), r *inspect.Report) {
	var kinds []string
	about := map[string]int{}
	for _, s := range r.Statements {
		kind := kindOf(s)
		if about[kind]++; about[kind] == 1 {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		row("said", "nothing")
	}
	for _, kind := range kinds {
		row("said", "%s about %s", kind, plural(about[kind], "digest"))
	}
}

func kindOf(s inspect.Statement) string {
	t := cmp.Or(s.PredicateType, s.ArtifactType)
	for prefix, name := range map[string]string{
		"https://slsa.dev/provenance/":   "SLSA provenance",
		"https://spdx.dev/Document":      "SPDX SBOM",
		"https://cyclonedx.org/bom":      "CycloneDX SBOM",
		"https://openvex.dev/ns":         "OpenVEX",
		"application/spdx+json":          "SPDX SBOM",
		"application/vnd.cyclonedx+json": "CycloneDX SBOM",
	} {
		if strings.HasPrefix(t, prefix) {
			return name
		}
	}
	return t
}

func printSigned(row func(string, string, ...any), r *inspect.Report) {
	type line struct{ form, predicate, who string }
	var lines []line
	count := map[line]int{}
	for _, s := range r.Signatures {
		l := line{s.Form, s.PredicateType, cmp.Or(s.Identity, "a key, which the signature does not name")}
		if s.Issuer != "" {
			l.who += " (" + s.Issuer + ")"
		}
		if count[l]++; count[l] == 1 {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		row("signed", "by nobody")
	}
	for _, l := range lines {
		what := "signature"
		if l.predicate != "" {
			what = "signed " + kindOf(inspect.Statement{PredicateType: l.predicate})
		} else if l.form == ".att" {
			what = "signed statement"
		}
		row("signed", "by %s: %s (%s) of %s", l.who, what, l.form, plural(count[l], "digest"))
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

// short is the beginning of a digest.
func short(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok {
		algorithm, hex = "sha256", digest
	}
	return algorithm + ":" + hex[:min(12, len(hex))]
}
