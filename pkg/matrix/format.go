package matrix

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Formats are the names of the forms in which Write writes.
func Formats() []string { return []string{"github", "gitlab", "plain"} }

// Most rows that one matrix may have: GitHub Actions, "Running variations of
// jobs in a workflow", and GitLab CI/CD, parallel:matrix.
const (
	githubMost = 256
	gitlabMost = 200
)

// Write writes rows for a CI system:
//
//   - github: one line of JSON that fromJSON takes for strategy.matrix,
//     {"include":[…]}, which may be empty;
//   - gitlab: JSON, and so YAML, of a hidden job to extend, with
//     parallel:matrix of the variables PROFILE, ARCH, ETCD, NAME and RUNNER; of
//     no rows, a job that is never run;
//   - plain: a line for each row: profile, architecture, version of etcd, name
//     and runner, with a tab between them.
func Write(w io.Writer, format string, rows []Row) error {
	switch format {
	case "github":
		return writeGitHub(w, rows)
	case "gitlab":
		return writeGitLab(w, rows)
	case "plain":
		for _, r := range rows {
			if _, err := fmt.Fprintln(w, strings.TrimRight(strings.Join([]string{r.Profile, r.Arch, r.Etcd, r.Name, r.Runner}, "\t"), "\t")); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("format %q: want one of %s", format, strings.Join(Formats(), ", "))
}

func writeGitHub(w io.Writer, rows []Row) error {
	if err := few(rows, githubMost, "GitHub Actions"); err != nil {
		return err
	}
	if rows == nil {
		rows = []Row{}
	}
	return encode(w, map[string][]Row{"include": rows}, "")
}

// GitLabJob is the hidden job of the form for GitLab.
const GitLabJob = ".etcdimg-matrix"

func writeGitLab(w io.Writer, rows []Row) error {
	if err := few(rows, gitlabMost, "GitLab"); err != nil {
		return err
	}
	job := map[string]any{"rules": []map[string]string{{"when": "never"}}}
	if len(rows) > 0 {
		var matrix []map[string]string
		for _, r := range rows {
			matrix = append(matrix, map[string]string{"PROFILE": r.Profile, "ARCH": r.Arch, "ETCD": r.Etcd, "NAME": r.Name, "RUNNER": r.Runner})
		}
		job = map[string]any{"parallel": map[string]any{"matrix": matrix}}
	}
	return encode(w, map[string]any{GitLabJob: job}, "  ")
}

func few(rows []Row, most int, system string) error {
	if len(rows) > most {
		return fmt.Errorf("%d rows, and %s takes %d of one matrix: name fewer profiles, architectures or versions at a time", len(rows), system, most)
	}
	return nil
}

func encode(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	return e.Encode(v)
}
